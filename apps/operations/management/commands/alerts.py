"""``manage.py alerts``: print which alerts are firing, or write the rules for Prometheus."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from apps.operations.alerts.measures import Facts
from apps.operations.alerts.table import RUNBOOK, firing, rules

ROOT = Path(__file__).resolve().parents[4]
RULES = "deploy/prometheus/alerts.yml"


class Command(BaseCommand):
    help = (
        "Print the alerts whose condition holds, one a line; exit status 1 if there are any. With --prometheus, write "
        f"{RULES}, the same alerts as rules for Prometheus, and print nothing else."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--prometheus", action="store_true", help=f"Write {RULES}.")

    def handle(self, *, prometheus: bool, **options: Any) -> None:
        if prometheus:
            (ROOT / RULES).write_text(rules())
            self.stdout.write(f"{RULES} is written.")
            return
        found = firing(Facts())
        for one in found:
            alert = one.alert
            self.stdout.write(
                f"{alert.severity} {alert.name} ({one.details}): {alert.summary} {RUNBOOK}#{alert.anchor}"
            )
        if found:
            raise SystemExit(1)
        self.stdout.write("No alert is firing.")
