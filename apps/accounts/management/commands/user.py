"""`manage.py user`: unlock an account or end its sessions, without the admin."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.accounts.models import EndReason, User
from apps.accounts.services.attempts import account_unlock
from apps.accounts.services.sessions import sessions_end
from apps.practices.validation.addresses import email_normalised

UNLOCK = """Clear the failed attempts at an account's password, so that it can be tried again at once.

After 10 failed attempts, by anyone, further ones are refused for a time that doubles, up to 15 minutes. The refusals end without
this command. They do not affect existing sessions, and a mailed link to reset the password also clears them."""
END_SESSIONS = """End every session of an account: all its tokens, cookies and admin sessions stop working.

This takes effect everywhere within SESSION_CHECK_SECONDS. The password stays the same, so anyone who knows it can sign in again.
To lock someone out, clear "active" in the admin."""


class Command(BaseCommand):
    help = "Unlock an account, or end its sessions. Both are recorded as security events."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)
        for name, text, short in (
            ("unlock", UNLOCK, "clear its failed attempts"),
            ("end-sessions", END_SESSIONS, "sign it out everywhere"),
        ):
            action = actions.add_parser(name, help=short, description=text, formatter_class=RawDescriptionHelpFormatter)
            action.add_argument("email", help="the account's e-mail address, in any case")

    def handle(self, *, action: str, email: str, **options: Any) -> None:
        act: Callable[[User], str] = {"unlock": self._unlock, "end-sessions": self._end_sessions}[action]
        user = User.objects.filter(email=email_normalised(email)).first()
        if user is None:
            raise CommandError(f"No account has the address {email}.")
        self.stdout.write(act(user))

    def _unlock(self, user: User) -> str:
        counted = account_unlock(user=user, now=timezone.now())
        if not counted:
            return f"{user.email}: there were no failed attempts."
        since = min(count.counted_since for count in counted)
        failures = sum(count.failures for count in counted)
        return f"{user.email}: cleared the failed attempts since {since:%Y-%m-%d %H:%M} UTC: {failures}."

    def _end_sessions(self, user: User) -> str:
        ended = sessions_end(user_id=user.pk, reason=EndReason.ADMIN, now=timezone.now())
        return f"{user.email}: sessions ended: {ended}, everywhere within {settings.TOKENS_CHECK_SECONDS:g} s."
