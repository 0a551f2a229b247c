"""``manage.py prove``: demonstrate each practice on this machine."""

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tools.prove.practices import WORDS
from tools.prove.runner import Outcome, prove
from tools.stack import StackError


class Command(BaseCommand):
    help = (
        "Boot a private stack with the production settings (an edge with TLS, two web instances, a worker, PostgreSQL, "
        "Valkey), run a live experiment over HTTP for each of the thirteen practices, print what it did, what it saw and "
        "how long it took, then delete the stack. Your own data and processes are not touched. "
        "The exit status is 0 if every practice is proved, 1 otherwise."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON document to standard output.")
        parser.add_argument(
            "--practice",
            action="append",
            choices=WORDS,
            metavar="WORD",
            help=f"Run this experiment only; repeat the option for several. One of: {', '.join(WORDS)}.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["practice"] or WORDS
        as_text = not options["json"]
        if as_text:
            self.stdout.write(
                "Booting a private stack: PostgreSQL, Valkey, two instances, a worker, an edge with TLS …"
            )
        outcomes = []
        try:
            for outcome in prove(words=words):
                outcomes.append(outcome)
                if as_text:
                    self._print(outcome)
        except StackError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"practices": [asdict(outcome) for outcome in outcomes]}, indent=2))
        proved = sum(outcome.status == "proved" for outcome in outcomes)
        if as_text:
            self.stdout.write(f"\n{proved} of {len(outcomes)} proved.")
        if proved < len(outcomes) or not outcomes:
            sys.exit(1)

    def _print(self, outcome: Outcome) -> None:
        style = self.style.SUCCESS if outcome.status == "proved" else self.style.ERROR
        self.stdout.write(f"\n{outcome.number} {outcome.word}: {style(outcome.status)} in {outcome.seconds:.1f} s")
        self.stdout.write(f"    did  {outcome.did}\n    saw  {outcome.saw}")
