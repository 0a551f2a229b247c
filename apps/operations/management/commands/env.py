"""``manage.py env``: what is in force and where it came from."""

import json
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = (
        "Print every environment variable that has an effect: its value in force and the layer it came from. "
        "Secrets are hidden. Later layers win: default, var/stack.json (dev), .env, .env.local, .env.<name>, "
        ".env.<name>.local, the process environment; NAME_FILE reads NAME from a file."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        environment: Any = getattr(settings, "ENVIRONMENT")  # noqa: B009 - an object of ours, which the stubs do not know
        rows = {name: _row(entry) for name, entry in environment.entries.items()}
        if options["json"]:
            report = {
                "environment": environment.name,
                "variables": rows,
                "ignored": environment.ignored,
                "slips": environment.slips,
            }
            self.stdout.write(json.dumps(report, indent=2))
            return
        self.stdout.write(f"environment: {environment.name} (settings module {settings.SETTINGS_MODULE})\n")
        width = max(map(len, rows))
        for name, row in rows.items():
            shown = "-" if row["value"] is None else row["value"]
            self.stdout.write(f"{name:<{width}}  {shown}  [{row['source']}]")
        for name in environment.ignored:
            self.stdout.write(f"not read by anything here: {name}")


def _row(entry: Any) -> dict[str, Any]:
    value = entry.value
    if entry.variable.secret and value not in (None, [], ""):
        value = _hidden(value)
    return {"value": value, "source": entry.source}


def _hidden(value: Any) -> str:
    """A secret's place holder; of a URL, everything but user, password and query, which help to see what is connected."""
    if isinstance(value, str) and "://" in value:
        try:
            parts = urlsplit(value)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "(hidden)"
        return f"{parts.scheme}://(hidden)@{parts.hostname or ''}{port}{parts.path}"
    return "(hidden)"
