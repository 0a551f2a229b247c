"""`manage.py prune`: delete data past its retention."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from apps.practices.database.failures import outage_message
from apps.practices.privacy.retention import BATCH, Retention, retentions

SHOWN_EVERY = 20_000  # rows between two lines of progress


class Command(BaseCommand):
    help = """Delete data past its retention, in small transactions, while the service is running.

Workers run this once a day. It is safe to interrupt it, to run it again, and to run it several times at once.
With --dry-run nothing is deleted. The exit status is 1 if some of the data could not be deleted.
Set the retention with RETENTION_SESSIONS, RETENTION_EVENTS, RETENTION_JOBS (days) and RETENTION_IDEMPOTENCY (hours)."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count what would be deleted.")
        parser.add_argument("--only", metavar="NAME", help="Prune this kind of data only, for example jobs.")

    def handle(self, *, dry_run: bool, only: str | None, **options: Any) -> None:
        chosen = [retention for retention in retentions() if only in (None, retention.name)]
        if not chosen:
            names = ", ".join(retention.name for retention in retentions())
            raise CommandError(f"Unknown kind of data {only!r}. Choose one of: {names}.")
        now = timezone.now()
        failed = [retention.name for retention in chosen if not self._pruned(retention, now=now, dry_run=dry_run)]
        if failed:
            raise CommandError(f"Not finished: {', '.join(failed)}. Run prune again to delete the rest.")

    def _pruned(self, retention: Retention, *, now: datetime, dry_run: bool) -> bool:
        """Prune one kind of data and return whether that succeeded."""
        age = f"expired more than {retention.days():g} days ago" if retention.days() else "expired"
        done = shown = 0
        try:
            if dry_run:
                self.stdout.write(f"{retention.name}: {retention.count(now=now):,} would be deleted ({age})")
                return True
            for removed in retention.prune(now=now, batch=BATCH):
                done += removed
                if done - shown >= SHOWN_EVERY:
                    shown = done
                    self.stdout.write(f"{retention.name}: {done:,} deleted so far")
        except DatabaseError as error:
            if outage_message(error):
                raise  # manage.py reports it once; the other kinds of data would fail as well
            self.stderr.write(f"{retention.name}: stopped after {done:,}: {str(error).strip()}")
            return False
        self.stdout.write(f"{retention.name}: {done:,} deleted ({age})")
        return True
