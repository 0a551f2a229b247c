"""Mails about accounts. Each is a job: asked for in the transaction that it tells of, written and sent by a worker.

The words are in ``templates/mails/``. They name nobody and repeat nothing that a stranger could have typed (a name, a
device): an account can be made for anybody's address, and its first mail must not carry a stranger's message.
"""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template import Context, engines
from django.utils.crypto import salted_hmac

from apps.accounts.models import LinkPurpose, User
from apps.accounts.services.links import link_mint
from apps.jobs.context import JobContext
from apps.jobs.services import job_submit
from apps.practices.errors import Unprocessable
from apps.practices.validation.addresses import email_normalised

KIND = "accounts.mail"
_STANDING_SALT = "apps.accounts.services.mails.standing"
_PERMANENT = range(500, 600)  # RFC 5321, 4.2.1: the same message will be refused again
logger = structlog.get_logger(__name__)


class Mail(StrEnum):
    """The mails there are, by the name of their templates."""

    VERIFY_EMAIL = "verify-email"
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of a mail
    CHANGE_EMAIL = "change-email"
    REGISTERED_AGAIN = "registered-again"
    EMAIL_CHANGED = "email-changed"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - as above
    TOKEN_REUSED = "token-reused"  # noqa: S105 - as above
    ACCOUNT_DELETED = "account-deleted"


_LINKS = {
    Mail.VERIFY_EMAIL: LinkPurpose.VERIFY_EMAIL,
    Mail.RESET_PASSWORD: LinkPurpose.RESET_PASSWORD,
    Mail.CHANGE_EMAIL: LinkPurpose.CHANGE_EMAIL,
    Mail.REGISTERED_AGAIN: LinkPurpose.RESET_PASSWORD,
}


class MailRefused(Unprocessable):
    """The mail server will not take this mail, however often it is tried."""

    status = 422
    type = "mail-refused"
    title = "Mail refused"
    explanation = "The mail server refused the recipient or the message for good, so it is not tried again."


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What is written to whom; ``link`` is None in a mail that only tells."""

    template: Mail
    address: str
    link: str | None = None


def mail_submit(
    *, template: Mail, user_id: UUID | None = None, address: str | None = None, asker: User | None = None
) -> None:
    """Have a mail sent, once the caller's transaction commits: to a user, to an address, or to both as the mail needs.

    ``asker`` is a user as it was checked just now: where its password or address is another one by the time the mail is
    written, nothing is.
    """
    parameters: dict[str, Any] = {"template": template.value}
    if user_id is not None:
        parameters["user"] = str(user_id)
    if address is not None:
        parameters["address"] = address
    if asker is not None:
        parameters["asker"] = _standing(asker)
    job_submit(kind=KIND, owner=None, parameters=parameters)


def _standing(user: User) -> str:
    """Tell a user's password and address from any others, to nobody who has not SECRET_KEY."""
    return salted_hmac(_STANDING_SALT, f"{user.password}\n{user.email}", algorithm="sha256").hexdigest()


def mail_send(
    context: JobContext, *, template: Mail, user_id: UUID | None, address: str | None, asker: str | None, now: datetime
) -> None:
    """Write the mail and hand it to the mail server; send nothing where there is nobody to tell.

    A link is minted here, and committed before the mail leaves: its token is in no parameter, no row and no log. What asks
    for a mail thus does the same work whether the account exists. Raises MailRefused.
    """
    with context.step():
        asked_at = context.job.created_at
        letter = _letter(template, user_id=user_id, address=address, asker=asker, asked_at=asked_at, now=now)
    if letter is None:
        logger.info("mail_not_needed", template=template.value)
        return
    _deliver(mail_message(letter, job_id=context.job.pk, asked_at=asked_at))
    logger.info("mail_sent", template=template.value)


def _letter(
    template: Mail, *, user_id: UUID | None, address: str | None, asker: str | None, asked_at: datetime, now: datetime
) -> Letter | None:
    purpose = _LINKS.get(template)
    if purpose is None and address is not None:
        return Letter(template=template, address=address)  # of an account that has left this address
    who = {"pk": user_id} if user_id is not None else {"email": email_normalised(address or "")}
    # Locked before its links, as by everything that ends links: the two never wait for each other the other way round.
    user = User.objects.select_for_update(no_key=True).filter(**who).first()
    if user is None:
        return None
    if purpose is None:
        return Letter(template=template, address=user.email)
    if not user.is_active or (purpose == LinkPurpose.VERIFY_EMAIL and user.email_verified):
        return None
    email = user.email
    if purpose == LinkPurpose.CHANGE_EMAIL:
        if asker != _standing(user):
            return None  # a new password ends what was asked for by the old one; the mail may be hours late by then
        if address is None or User.objects.filter(email=address).exists():
            return None  # the address is somebody's, who is not told and not asked
        email = address
    token = link_mint(user_id=user.pk, purpose=purpose, email=email, asked_at=asked_at, now=now)
    return Letter(template=template, address=email, link=f"{settings.ACCOUNT_URL}/{purpose.value}#{token}")


def mail_message(letter: Letter, *, job_id: UUID, asked_at: datetime) -> EmailMultiAlternatives:
    """Write a letter in text and HTML. However often a job sends it, it is the same message to a mail program (RFC 5322)."""
    values = {
        "site_name": settings.SITE_NAME,
        "link": letter.link,
        "minutes": settings.ACCOUNT_LINK_SECONDS // 60,
        "asked_at": asked_at,
    }
    message = EmailMultiAlternatives(
        subject=" ".join(_rendered(f"{letter.template}.subject.txt", values).split()),
        body=_rendered(f"{letter.template}.txt", values).strip() + "\n",
        to=[letter.address],
        headers={
            "Message-ID": f"<{job_id}@{urlsplit(settings.PUBLIC_URL).hostname}>",
            "Auto-Submitted": "auto-generated",  # RFC 3834: nobody's absence notice is wanted
        },
    )
    message.attach_alternative(_rendered(f"{letter.template}.html", values), "text/html")
    return message


def _rendered(name: str, values: dict[str, Any]) -> str:
    """Render a template; only HTML is escaped."""
    template: Any = engines["django"].engine.get_template(f"mails/{name}")  # type: ignore[attr-defined]  # DjangoTemplates'
    return template.render(Context(values, autoescape=name.endswith(".html")))


def _deliver(message: EmailMultiAlternatives) -> None:
    """Send over a connection of its own, each wait bounded by EMAIL_TIMEOUT; raises MailRefused, or what a retry may mend."""
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if not all(code in _PERMANENT for code in codes):
            raise
        raise _refused(codes[0]) from error
    except smtplib.SMTPDataError as error:
        if error.smtp_code not in _PERMANENT:
            raise
        raise _refused(error.smtp_code) from error


def _refused(code: int) -> MailRefused:
    logger.warning("mail_refused", code=code)
    return MailRefused(f"The mail server answered {code}.")
