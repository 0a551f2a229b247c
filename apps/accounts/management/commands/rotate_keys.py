"""`manage.py rotate_keys`: add a signing key, and remove old or leaked ones."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils import timezone

from apps.accounts.services.key_rotation import KeyRotation, KeyRotationRefused, keys_rotate

TIME_FORMAT = "%Y-%m-%d %H:%M:%S UTC"


class Command(BaseCommand):
    help = """Rotate the keys that sign tokens (JWT_KEYS). Nobody is signed out.

A new key verifies as soon as an instance has it, and signs 10 minutes later. An old key verifies until nothing it signed can
be valid: REFRESH_TOKEN_DAYS and one day after another key took over. Then this command drops it.

If JWT_KEYS_FILE names a file, the command replaces the ring in it atomically. Otherwise it prints the new value of JWT_KEYS to
standard output, for you to set, and writes nothing. Its messages then go to standard error.

To roll out a new key:
  1. Run ./manage.py rotate_keys.
  2. Within 10 minutes, give the new ring to every instance and restart them one after another. Until then instances with the
     old ring and with the new one accept each other's tokens.
  Repeat this regularly, for instance monthly. Each run drops the keys that are no longer needed.

If a key may have leaked:
  1. Run ./manage.py rotate_keys --compromised KID.
     The key is removed from the ring, and every session whose tokens it signed ends everywhere within SESSION_CHECK_SECONDS.
  2. Restart every instance now. Until then an instance with the old ring accepts what the key signs.
  3. Run the same command again, to end the sessions that such an instance has started since."""
    requires_system_checks = ()  # removing a leaked key must not depend on them

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--compromised", metavar="KID", help="remove this key and end the sessions it signed")
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be done; change nothing and print no key"
        )
        parser.add_argument(
            "--print", action="store_true", dest="is_printed", help="print the value even if JWT_KEYS_FILE names a file"
        )

    def handle(self, *, compromised: str | None, dry_run: bool, is_printed: bool, **options: Any) -> None:
        file = None if is_printed else settings.TOKENS_KEYS_FILE
        try:
            rotation = keys_rotate(now=timezone.now(), file=file, compromised=compromised, is_rehearsal=dry_run)
        except KeyRotationRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        except DatabaseError as error:
            raise CommandError(_database_away(compromised)) from error
        self._report(rotation, compromised=compromised, dry_run=dry_run)
        if rotation.kid and rotation.file is None and not dry_run:
            self.stdout.write(rotation.value)

    def _report(self, rotation: KeyRotation, *, compromised: str | None, dry_run: bool) -> None:
        """Print what was done and what to do next, without secrets; to standard error if standard output gets the ring."""
        lines = [*_ring(rotation, dry_run=dry_run)]
        if compromised:
            verb = "that would end" if dry_run else "ended"
            lines.append(f"Sessions {verb} because {compromised} signed their tokens: {rotation.ended}.")
        if not dry_run:
            lines += _next_steps(rotation, compromised=compromised)
        out = self.stderr if rotation.kid and rotation.file is None and not dry_run else self.stdout
        for line in lines:
            out.write(line, style_func=str)


def _ring(rotation: KeyRotation, *, dry_run: bool) -> list[str]:
    if rotation.sign_from is None:
        return ["The ring no longer has this key, so the ring was not changed."]
    added = f"{'A new key' if dry_run else rotation.kid} signs from {rotation.sign_from.strftime(TIME_FORMAT)}."
    dropped = f"Dropped: {', '.join(rotation.dropped)}." if rotation.dropped else "No key was dropped."
    written = f"Wrote {rotation.file}." if rotation.file else "NOTHING WAS WRITTEN. Set JWT_KEYS to the printed value."
    return [added, dropped, "Dry run: nothing was changed." if dry_run else written]


def _next_steps(rotation: KeyRotation, *, compromised: str | None) -> list[str]:
    if compromised is None:
        return [f"Give the new ring to every instance and restart it before {rotation.kid} signs."]
    if rotation.kid is None:
        return []
    return [
        "Restart every instance with the new ring now. Until then it accepts what the old key signs.",
        f"Then run this command again with --compromised {compromised}, to end sessions that have started since.",
    ]


def _database_away(compromised: str | None) -> str:
    if compromised is None:
        return (
            "PostgreSQL is unavailable, so the change cannot be recorded. Nothing was changed. Run this command again."
        )
    return (
        "PostgreSQL is unavailable. Sessions signed by this key may still be active, and the ring may still have it. Run this "
        "command again with the same --compromised to finish."
    )
