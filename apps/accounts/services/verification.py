"""Where nobody signs in before their address is proved (REQUIRE_VERIFIED_EMAIL)."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings

from apps.accounts.models import User
from apps.accounts.services.attempts import AttemptPurpose, TooManyAttempts, attempt_begin
from apps.accounts.services.mails import Mail, mail_submit
from apps.practices.errors import Problem


class EmailUnverified(Problem):
    """403: the password is right, and the address has not been proved."""

    status = 403
    type = "email-unverified"
    title = "Address not verified"
    explanation = (
        "Follow the link that was mailed to the account's address, then sign in. A new one has just been sent."
    )


def verified_require(*, user: User) -> None:
    """Let pass whose address is verified, or need not be; raises EmailUnverified, and mails a new link.

    Called once the password was right, so that it tells nobody else what exists. When this address has been mailed too often
    the answer is the same, and the last link has to do.
    """
    if user.email_verified or not settings.REQUIRE_VERIFIED_EMAIL:
        return
    with suppress(TooManyAttempts):
        attempt_begin(purpose=AttemptPurpose.MAIL, email=user.email)
        mail_submit(template=Mail.VERIFY_EMAIL, user_id=user.pk)
    raise EmailUnverified()
