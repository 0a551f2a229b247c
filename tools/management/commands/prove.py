"""``manage.py prove``: shows each practice at work on this machine."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.operations.catalogue import WORDS
from tools.prove.runner import Outcome, prove
from tools.stack import StackError


class Command(BaseCommand):
    help = (
        "Boot a private stack that runs as production does (an edge with TLS, two web instances, a worker, PostgreSQL, "
        "Valkey), run a live experiment for each of the thirteen practices as a stranger would, print what it did, what "
        "it saw and how long it took, and throw the stack away. Nothing of yours is touched. "
        "The exit status is 0 when all are proved, 1 otherwise."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output, for programs")
        parser.add_argument(
            "--practice",
            action="append",
            choices=WORDS,
            metavar="WORD",
            help=f"only this one; repeat it for several: {', '.join(WORDS)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        words = options["practice"] or WORDS
        talking = not options["json"]
        if talking:
            self.stdout.write(
                "Booting a private stack: PostgreSQL, Valkey, two instances, a worker, an edge with TLS …"
            )
        outcomes = []
        try:
            for outcome in prove(words=words):
                outcomes.append(outcome)
                if talking:
                    self._tell(outcome)
        except StackError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"practices": [outcome.document() for outcome in outcomes]}, indent=2))
        proved = sum(outcome.status == "proved" for outcome in outcomes)
        if talking:
            self.stdout.write(f"\n{proved} of {len(outcomes)} proved.")
        if proved < len(outcomes) or not outcomes:
            sys.exit(1)

    def _tell(self, outcome: Outcome) -> None:
        style = self.style.SUCCESS if outcome.status == "proved" else self.style.ERROR
        self.stdout.write(f"\n{outcome.number} {outcome.word}: {style(outcome.status)} in {outcome.seconds:.1f} s")
        self.stdout.write(f"    did  {outcome.did}\n    saw  {outcome.saw}")
