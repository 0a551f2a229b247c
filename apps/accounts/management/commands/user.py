"""`manage.py user`: what an operator does for one account when nobody can open the admin, or faster than there."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils import timezone

from apps.accounts.models import EndReason, User
from apps.accounts.services.attempts import account_unlock
from apps.accounts.services.sessions import sessions_end
from apps.practices.validation.addresses import email_normalised

UNLOCK = """Forget the failed tries at an account's password, so that it can be tried again at once.

After 10 tries in vain each further one is refused for a time that doubles, up to 15 minutes, whoever tried. That passes by
itself; who is signed in stays so, and a mailed link to reset the password lifts it, too."""
END_SESSIONS = """End every sign-in of an account: all tokens, cookies and admin sessions.

Over everywhere within SESSION_CHECK_SECONDS. The password stays: whoever knows it can sign in again. To keep somebody out,
untick "active" in the admin."""


class Command(BaseCommand):
    help = """Help one account: unlock it, or end its sign-ins. Both are written to its history (security events)."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="what", required=True)
        for name, text, short in (
            ("unlock", UNLOCK, "let its password be tried again at once"),
            ("end-sessions", END_SESSIONS, "sign it out everywhere"),
        ):
            action = actions.add_parser(name, help=short, description=text, formatter_class=RawDescriptionHelpFormatter)
            action.add_argument("email", help="the account's address, in any case")

    def handle(self, *, action: str, email: str, **options: Any) -> None:
        act: Callable[[User], str] = {"unlock": self._unlock, "end-sessions": self._end_sessions}[action]
        try:
            user = User.objects.filter(email=email_normalised(email)).first()
            if user is None:
                raise CommandError(f"There is no account with the address {email}.")
            said = act(user)
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL is away, nothing was done: {str(error).strip()}") from error
        self.stdout.write(said)

    def _unlock(self, user: User) -> str:
        counted = account_unlock(user=user, now=timezone.now())
        if not counted:
            return f"{user.email}: no failed tries were counted."
        since = min(count.counted_since for count in counted)
        return f"{user.email}: {sum(count.failures for count in counted)} tries since {since:%Y-%m-%d %H:%M} UTC forgotten."

    def _end_sessions(self, user: User) -> str:
        ended = sessions_end(user_id=user.pk, reason=EndReason.ADMIN, now=timezone.now())
        return f"{user.email}: {ended} sign-ins ended, everywhere within {settings.TOKENS_CHECK_SECONDS:g} s."
