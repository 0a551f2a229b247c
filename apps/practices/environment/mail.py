"""The mail backend of staging, which sends all mail to one address so that no user gets it."""

import copy
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend

_RECIPIENT_HEADERS = frozenset({"to", "cc", "bcc", "reply-to"})


class RedirectBackend(BaseEmailBackend):
    """Sends every message only to EMAIL_REDIRECT, with EMAIL_REDIRECTED_BACKEND. Subject and header name the recipients.

    EMAIL_BACKEND names it, so it redirects the mails of every app.
    """

    def __init__(self, fail_silently: bool = False, **options: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        backend = settings.EMAIL_REDIRECTED_BACKEND
        self._backend = get_connection(backend, fail_silently=fail_silently, **options)

    def open(self) -> bool | None:
        return self._backend.open()

    def close(self) -> None:
        self._backend.close()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        sent: int = self._backend.send_messages([_redirected(message) for message in email_messages])
        return sent


def _redirected(message: EmailMessage) -> EmailMessage:
    meant = message.recipients()
    copied = copy.copy(message)
    copied.to, copied.cc, copied.bcc, copied.reply_to = [settings.EMAIL_REDIRECT], [], [], []
    kept = {name: value for name, value in message.extra_headers.items() if name.lower() not in _RECIPIENT_HEADERS}
    copied.extra_headers = {**kept, "X-Redirected-From": ", ".join(meant)}
    others = f" and {len(meant) - 1} more" if len(meant) > 1 else ""
    copied.subject = f"[for {meant[0] if meant else 'nobody'}{others}] {message.subject}"
    return copied
