"""`manage.py rotate_keys`: a new signing key, and the end of old or stolen ones."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils import timezone

from apps.accounts.services.key_rotation import Rotation, RotationRefused, keys_rotate

LATER = "%Y-%m-%d %H:%M:%S UTC"


class Command(BaseCommand):
    help = """Change the keys that sign tokens (JWT_KEYS). Nobody is signed out by it.

A new key verifies as soon as an instance knows it and signs 10 minutes later. Old ones verify until nothing they signed
can be valid any more: REFRESH_TOKEN_DAYS and a day after another took over. Then this command drops them.

Where JWT_KEYS_FILE names a file, the ring in it is replaced, whole or not at all. Else the new value of JWT_KEYS is
printed to standard output, for you to set, and nothing is written; what there is to say goes to standard error.

the order of a roll-out:
  1. ./manage.py rotate_keys
  2. Within 10 minutes, give the new ring to every instance and restart one after the other. Meanwhile instances with the
     old and with the new ring take each other's tokens.
  3. That is all. Run it again when you like, monthly for instance: it drops what has served its time.

a key that others may know:
  1. ./manage.py rotate_keys --compromised KID
     The key leaves the ring, and every sign-in whose tokens it signed ends, everywhere within SESSION_CHECK_SECONDS.
  2. Restart every instance now. Until then an instance with the old ring takes what the key signs.
  3. The same command again ends the sign-ins that such an instance has let begin meanwhile."""
    requires_system_checks = ()  # a stolen key has to go whatever else is wrong

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--compromised", metavar="KID", help="drop this key and end the sign-ins it signed")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done; change and print no key")
        parser.add_argument(
            "--print",
            action="store_true",
            dest="is_printed",
            help="print the value even where JWT_KEYS_FILE names a file",
        )

    def handle(self, *, compromised: str | None, dry_run: bool, is_printed: bool, **options: Any) -> None:
        file = None if is_printed else settings.TOKENS_KEYS_FILE
        try:
            rotation = keys_rotate(now=timezone.now(), file=file, compromised=compromised, is_rehearsal=dry_run)
        except RotationRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        except DatabaseError as error:
            raise CommandError(_database_away(compromised)) from error
        self._tell(rotation, compromised=compromised, dry_run=dry_run)
        if rotation.kid and rotation.file is None and not dry_run:
            self.stdout.write(rotation.value)

    def _tell(self, rotation: Rotation, *, compromised: str | None, dry_run: bool) -> None:
        """Say what was done and what is to be done, and nothing secret; beside a value that is printed, not among it."""
        lines = [*_ring(rotation, dry_run=dry_run)]
        if compromised:
            verb = "would end" if dry_run else "ended"
            lines.append(f"{rotation.ended} sign-ins whose tokens {compromised} signed {verb}.")
        if not dry_run:
            lines += _next_steps(rotation, compromised=compromised)
        out = self.stderr if rotation.kid and rotation.file is None and not dry_run else self.stdout
        for line in lines:
            out.write(line, style_func=str)


def _ring(rotation: Rotation, *, dry_run: bool) -> list[str]:
    if rotation.sign_from is None:
        return ["The ring holds this key no longer, and stays as it is."]
    done = f"{'A new key' if dry_run else rotation.kid} signs from {rotation.sign_from.strftime(LATER)} on."
    gone = f"Dropped: {', '.join(rotation.dropped)}." if rotation.dropped else "No key is dropped."
    where = (
        f"{rotation.file} is written." if rotation.file else "NOTHING IS WRITTEN: set JWT_KEYS to the value printed."
    )
    return [done, gone, f"{'Dry run: nothing is changed.' if dry_run else where}"]


def _next_steps(rotation: Rotation, *, compromised: str | None) -> list[str]:
    if compromised is None:
        return [f"Give the new ring to every instance, and restart it, before {rotation.kid} signs."]
    if rotation.kid is None:
        return []
    return [
        "Restart every instance with the new ring now: until then it takes what the key signs.",
        f"Then run this again with --compromised {compromised}: sign-ins may have begun meanwhile.",
    ]


def _database_away(compromised: str | None) -> str:
    if compromised is None:
        return "PostgreSQL does not answer, and the change is written down there. Nothing was changed: run this again."
    return (
        "PostgreSQL does not answer. Sign-ins of this key may not have ended, and it may be in the ring still: run this "
        "again with the same --compromised, which does what is left to do."
    )
