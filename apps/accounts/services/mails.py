"""Mails about accounts. Each is a job: submitted in the transaction it reports on, written and sent by a worker.

The texts are in ``templates/mails/``. They contain nothing that a stranger could have typed, such as a name or a device: anyone
can register any address, and the first mail to it must not carry a stranger's message.
"""

import smtplib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template import Context, engines
from django.utils.crypto import salted_hmac

from apps.accounts.models import LinkPurpose, User
from apps.accounts.services.links import link_create
from apps.jobs.context import JobContext
from apps.jobs.services import job_submit
from apps.practices.errors import Unprocessable
from apps.practices.mechanisms.metrics import count
from apps.practices.validation.addresses import email_normalised

KIND = "accounts.mail"
_FINGERPRINT_SALT = "apps.accounts.services.mails.fingerprint"
_PERMANENT = range(500, 600)  # RFC 5321, 4.2.1: sending it again would fail again
logger = structlog.get_logger(__name__)


class Mail(StrEnum):
    """The mails, by the names of their templates."""

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


class MailRefused(Unprocessable, type="mail-refused", title="Mail refused"):
    explanation = "The mail server permanently rejected the recipient or the message, so it is not sent again."


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A mail to write, and its recipient. ``link`` is None if the mail has none."""

    template: Mail
    address: str
    link: str | None = None


def mail_submit(
    *, template: Mail, user_id: UUID | None = None, address: str | None = None, requester: User | None = None
) -> None:
    """Submit a job that sends a mail, in the caller's transaction, to a user or to an address.

    ``requester`` is a user whose password has just been checked: if the password or address has changed by the time the worker
    writes the mail, it sends nothing.
    """
    parameters = {
        "template": template.value,
        "user_id": user_id and str(user_id),
        "address": address,
        "requester": requester and _fingerprint(requester),
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    job_submit(kind=KIND, owner=None, parameters=given)


def _fingerprint(user: User) -> str:
    """Return an HMAC of the user's password hash and address, which shows later whether either has changed."""
    return salted_hmac(_FINGERPRINT_SALT, f"{user.password}\n{user.email}", algorithm="sha256").hexdigest()


def mail_send(context: JobContext, *, template: Mail, now: datetime, **recipient: Any) -> None:
    """Write the mail and send it, unless its recipient (the arguments of `_letter`) does not need it; raise MailRefused.

    A link is created here and committed before the mail is sent, so its token is in no job parameter, row or log, and a
    request for a mail does the same work whether or not the account exists.
    """
    with context.step():
        asked_at = context.job.created_at
        letter = _letter(template, **recipient, asked_at=asked_at, now=now)
    if letter is None:
        logger.info("mail_not_needed", template=template.value)
        return
    mail_deliver(mail_message(letter, job_id=context.job.pk, asked_at=asked_at))
    logger.info("mail_sent", template=template.value)


def _letter(
    template: Mail,
    *,
    asked_at: datetime,
    now: datetime,
    user_id: UUID | None = None,
    address: str | None = None,
    requester: str | None = None,
) -> Letter | None:
    purpose = _LINKS.get(template)
    if purpose is None and address is not None:
        return Letter(template=template, address=address)  # a former address of an account
    who = {"pk": user_id} if user_id is not None else {"email": email_normalised(address or "")}
    # Lock order, to avoid deadlocks: the user, then its links.
    user = User.objects.select_for_update(no_key=True).filter(**who).first()
    if user is None:
        return None
    if purpose is None:
        return Letter(template=template, address=user.email)
    if not user.is_active or (purpose == LinkPurpose.VERIFY_EMAIL and user.email_verified):
        return None
    email = user.email
    if purpose == LinkPurpose.CHANGE_EMAIL:
        if requester != _fingerprint(user):
            return None  # the password has changed since the request; the mail may be hours late
        if address is None or User.objects.filter(email=address).exists():
            return None  # the address belongs to another account
        email = address
    token = link_create(user_id=user.pk, purpose=purpose, email=email, asked_at=asked_at, now=now)
    return Letter(template=template, address=email, link=f"{settings.ACCOUNT_URL}/{purpose.value}#{token}")


def mail_message(letter: Letter, *, job_id: UUID, asked_at: datetime) -> EmailMultiAlternatives:
    """Render a letter as text and HTML, with the same Message-ID however often the job sends it (RFC 5322)."""
    values = {
        "site_name": settings.SITE_NAME,
        "link": letter.link,
        "minutes": settings.ACCOUNT_LINK_SECONDS // 60,
        "asked_at": asked_at,
    }
    message = EmailMultiAlternatives(
        subject=" ".join(_rendered(letter.template, "subject.txt", values).split()),
        body=_rendered(letter.template, "txt", values).strip() + "\n",
        to=[letter.address],
        headers={
            "Message-ID": f"<{job_id}@{urlsplit(settings.PUBLIC_URL).hostname}>",
            "Auto-Submitted": "auto-generated",  # RFC 3834: send no absence notice in reply
        },
    )
    message.attach_alternative(_rendered(letter.template, "html", values), "text/html")
    return message


def _rendered(mail: Mail, part: str, values: dict[str, Any]) -> str:
    """Render a mail's template in the base of one part: its subject, text or HTML, which is escaped."""
    template: Any = engines["django"].engine.get_template(f"mails/{mail}.txt")  # type: ignore[attr-defined]  # DjangoTemplates'
    return template.render(Context({**values, "base": f"mails/base.{part}"}, autoescape=part == "html"))


def mail_deliver(message: EmailMessage) -> None:
    """Send over a new connection, each wait bounded by EMAIL_TIMEOUT; raise MailRefused, or an error worth retrying."""
    outcome = "failed"
    try:
        message.send()
        outcome = "sent"
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if not all(code in _PERMANENT for code in codes):
            raise
        outcome = "refused"
        raise _refused(codes[0]) from error
    except smtplib.SMTPDataError as error:
        if error.smtp_code not in _PERMANENT:
            raise
        outcome = "refused"
        raise _refused(error.smtp_code) from error
    finally:
        count("mails", outcome=outcome)


def _refused(code: int) -> MailRefused:
    logger.warning("mail_refused", code=code)
    return MailRefused(f"The mail server replied {code}.")
