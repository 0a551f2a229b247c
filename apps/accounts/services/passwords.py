"""Set a new password, confirmed by the current one or by a mailed link. Either way every session ends."""

from datetime import datetime
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.accounts.models import LinkPurpose, SecurityEventKind, Transport, User
from apps.accounts.services.attempts import AttemptPurpose, attempt_begin, attempts_clear
from apps.accounts.services.credentials import password_confirm
from apps.accounts.services.events import Origin, event_record
from apps.accounts.services.links import LinkRefused, link_find, link_use
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.sessions import AccountChanged, TokenPair, session_start
from apps.accounts.services.users import user_hash_set, user_save
from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.validation.addresses import email_normalised

POINTER = "/new_password"


def password_change(
    *, user_id: UUID, current_password: str, new_password: str, transport: Transport, origin: Origin, now: datetime
) -> TokenPair:
    """Set a new password, end every session, and start a new one for the caller.

    Raise ValidationProblem, what `password_confirm` raises, and AccountChanged if the account has changed since then.
    """
    checked = password_confirm(user_id=user_id, password=current_password, origin=origin, now=now)
    _validate(new_password, user=checked)
    hashed = make_password(new_password)
    with transaction.atomic():
        user = password_replace(checked=checked, hashed=hashed, origin=origin, now=now)
        return session_start(user=user, origin=origin, now=now, transport=transport)


def password_replace(*, checked: User, hashed: str, origin: Origin, now: datetime) -> User:
    """Store a new hash for a user whose current password has just been checked, and end every session.

    Return the updated user; raise AccountChanged if the account has changed since the check.
    """
    with transaction.atomic():
        unchanged = User.objects.select_for_update().filter(pk=checked.pk, is_active=True, password=checked.password)
        user = unchanged.first()
        if user is None:
            raise AccountChanged()
        user_hash_set(user=user, hashed=hashed, by="password", origin=origin, now=now)
    return user


def password_reset_request(*, email: str) -> None:
    """Mail a link to set a new password, if the address has an active account; raise TooManyAttempts.

    The worker looks the account up, so neither the response nor its time reveals whether there is one.
    """
    attempt_begin(purpose=AttemptPurpose.RESET, email=email)
    mail_submit(template=Mail.RESET_PASSWORD, address=email_normalised(email))


def password_reset(*, token: str, new_password: str, origin: Origin, now: datetime) -> None:
    """Set a new password with a mailed link, which also verifies the address, and clear the failed attempts.

    Raise LinkRefused, or ValidationProblem for an unacceptable password, which does not use the link up.
    """
    link = link_find(token=token, purposes=[LinkPurpose.RESET_PASSWORD], now=now)
    _validate(new_password, user=link.user)
    hashed = make_password(new_password)
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=link.user_id, is_active=True, email=link.email).first()
        if user is None:
            raise LinkRefused()
        link_use(link)
        if not user.email_verified:
            user.email_verified = True
            user_save(user=user, fields=("email_verified",))
            event_record(SecurityEventKind.EMAIL_VERIFIED, now=now, user_id=user.pk, origin=origin)
        user_hash_set(user=user, hashed=hashed, by="link", origin=origin, now=now)
        attempts_clear(email=user.email)


def _validate(password: str, *, user: User) -> None:
    try:
        validate_password(password, user=user)
    except ValidationError as error:
        errors = [FieldError(POINTER, each.code or "invalid", each.messages[0]) for each in error.error_list]
        raise ValidationProblem(errors=errors) from error
