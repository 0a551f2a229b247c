"""Verify and change an account's e-mail address, by links that are mailed to it."""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from apps.accounts.models import LinkPurpose, SecurityEventKind, User
from apps.accounts.services.attempts import AttemptPurpose, attempt_begin
from apps.accounts.services.credentials import password_confirm
from apps.accounts.services.events import Origin, event_record
from apps.accounts.services.links import LinkRefused, link_find, link_use, links_delete
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.users import EmailTaken, user_email_set, user_save
from apps.practices.validation.addresses import email_normalised

VERIFYING = (LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)


def email_verification_request(*, email: str) -> None:
    """Mail a link that verifies the address, if it belongs to an unverified account; raise TooManyAttempts.

    The worker looks the account up, so neither the response nor its time reveals whether there is one.
    """
    attempt_begin(purpose=AttemptPurpose.MAIL, email=email)
    mail_submit(template=Mail.VERIFY_EMAIL, address=email_normalised(email))


def email_change_request(*, user_id: UUID, email: str, current_password: str, origin: Origin, now: datetime) -> None:
    """Mail a link to the new address; nothing changes before it is followed.

    Raise what `password_confirm` raises, and TooManyAttempts for an address that is sent too many mails. The worker checks
    whether the address is taken, so neither the response nor its time reveals that.
    """
    requester = password_confirm(user_id=user_id, password=current_password, origin=origin, now=now)
    attempt_begin(purpose=AttemptPurpose.MAIL, email=email)
    mail_submit(template=Mail.CHANGE_EMAIL, user_id=user_id, address=email_normalised(email), requester=requester)


def email_verify(*, token: str, origin: Origin, now: datetime) -> None:
    """Use a mailed link: mark the address as verified, or make the new address the account's.

    Raise LinkRefused, or EmailTaken if another account has the new address by now. Neither uses the link up.
    """
    link = link_find(token=token, purposes=VERIFYING, now=now)
    try:
        with transaction.atomic():
            user = User.objects.select_for_update().filter(pk=link.user_id, is_active=True).first()
            if user is None:
                raise LinkRefused()
            link_use(link)
            if link.purpose == LinkPurpose.CHANGE_EMAIL:
                _change(user, link.email, origin=origin, now=now)
            else:
                _verify(user, link.email, origin=origin, now=now)
    except IntegrityError as error:
        if isinstance(error.__cause__, UniqueViolation):
            raise EmailTaken() from error
        raise


def _verify(user: User, email: str, *, origin: Origin, now: datetime) -> None:
    if user.email != email:
        raise LinkRefused()  # it verifies an address that the account no longer has
    user.email_verified = True
    user_save(user=user, fields=("email_verified",))
    links_delete(user_id=user.pk, purposes=[LinkPurpose.VERIFY_EMAIL])
    event_record(SecurityEventKind.EMAIL_VERIFIED, now=now, user_id=user.pk, origin=origin)


def _change(user: User, email: str, *, origin: Origin, now: datetime) -> None:
    if User.objects.filter(email=email).exclude(pk=user.pk).exists():  # the unique constraint settles races
        raise EmailTaken()
    former = user.email
    user.email, user.email_verified = email, True
    user_email_set(user=user, former=former, by="link", origin=origin, now=now)
