"""`manage.py rotate_keys`: print a ring with a new signing key, and end the sessions of a leaked one."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils import timezone

from apps.accounts.services.key_rotation import KeyUnknown, key_compromised, keys_rotated


class Command(BaseCommand):
    help = """Rotate the keys that sign tokens (JWT_KEYS). Nobody is signed out.

The new value of JWT_KEYS is printed to standard output, and everything else to standard error. Store it where the value comes
from: the host's settings, or the file that JWT_KEYS_FILE names.

A new key verifies as soon as an instance has it, and signs 10 minutes later. An old key verifies until nothing it signed can
be valid: REFRESH_TOKEN_DAYS and one day after another key took over. Then this command drops it.

To roll out a new key:
  1. Run ./manage.py rotate_keys, and store the new ring.
  2. Within 10 minutes, give it to every instance and restart them one after another. Until then instances with the old ring
     and with the new one accept each other's tokens.
  Repeat this regularly, for instance monthly. Each run drops the keys that are no longer needed.

If a key may have leaked:
  1. Run ./manage.py rotate_keys --compromised KID, and store the new ring, which lacks the key. Every session whose tokens
     the key signed ends everywhere within SESSION_CHECK_SECONDS.
  2. Restart every instance now. Until then an instance with the old ring accepts what the key signs.
  3. Run the same command again, to end the sessions that such an instance has started since."""
    requires_system_checks = ()  # ending a leaked key's sessions must not depend on them

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--compromised", metavar="KID", help="leave this key out and end the sessions it signed")

    def handle(self, *, compromised: str | None, **options: Any) -> None:
        now = timezone.now()
        if compromised is not None:
            self._end_sessions(compromised)
            if compromised not in {entry["kid"] for entry in settings.TOKENS_KEYS}:
                self._tell("The ring no longer has this key, so no new ring is printed.")
                return
        ring = keys_rotated(now=now, compromised=compromised)
        self._tell(f"{ring.kid} signs from {ring.sign_from:%Y-%m-%d %H:%M:%S} UTC.")
        self._tell(f"Dropped: {', '.join(ring.dropped) or 'none'}.")
        if compromised is None:
            self._tell(
                "Set JWT_KEYS to the printed value, and restart every instance with it before the new key signs."
            )
        else:
            self._tell(
                "Set JWT_KEYS to the printed value, and restart every instance now. Then run this command again."
            )
        self.stdout.write(ring.value)

    def _end_sessions(self, kid: str) -> None:
        try:
            ended = key_compromised(kid=kid, now=timezone.now())
        except KeyUnknown as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(
                "PostgreSQL is unavailable. Sessions signed by this key may still be active. Run this command again with the "
                "same --compromised to finish."
            ) from error
        self._tell(f"Sessions ended because {kid} signed their tokens: {ended}.")

    def _tell(self, line: str) -> None:
        self.stderr.write(line, style_func=str)
