"""`manage.py prune`: removes what its retention setting no longer keeps."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from apps.practices.database.retention import BATCH, Retention, retentions

SHOWN_EVERY = 20_000  # rows between two lines of progress


class Command(BaseCommand):
    help = """Remove data whose time is over, in small transactions, while the service runs.

The workers do it daily by themselves.
Twice at once, or again after it was interrupted, is no harm: each leaves to the other what that has taken.
With --dry-run nothing is removed. Exit status 1 says that something could not be removed; the rest was.
RETENTION_SESSIONS, RETENTION_EVENTS, RETENTION_JOBS (days) and RETENTION_IDEMPOTENCY (hours) say how long is kept what."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count what would go")
        parser.add_argument("--only", metavar="NAME", help="this kind alone, such as jobs")

    def handle(self, *, dry_run: bool, only: str | None, **options: Any) -> None:
        chosen = [retention for retention in retentions() if only in (None, retention.name)]
        if not chosen:
            names = ", ".join(retention.name for retention in retentions())
            raise CommandError(f"There is no {only!r} to prune. There is: {names}.")
        now = timezone.now()
        failed = [retention.name for retention in chosen if not self._pruned(retention, now=now, dry_run=dry_run)]
        if failed:
            raise CommandError(
                f"Not finished: {', '.join(failed)}. What was removed is gone; run prune again for the rest."
            )

    def _pruned(self, retention: Retention, *, now: datetime, dry_run: bool) -> bool:
        """Whether it went well."""
        age = f"over for {retention.days():g} days" if retention.days() else "over"
        done = shown = 0
        try:
            if dry_run:
                self.stdout.write(f"{retention.name}: {retention.count(now=now):,} would go ({age})")
                return True
            for removed in retention.prune(now=now, batch=BATCH):
                done += removed
                if done - shown >= SHOWN_EVERY:
                    shown = done
                    self.stdout.write(f"{retention.name}: {done:,} so far")
        except DatabaseError as error:
            self.stderr.write(f"{retention.name}: stopped after {done:,}: {str(error).strip()}")
            return False
        self.stdout.write(f"{retention.name}: {done:,} removed ({age})")
        return True
