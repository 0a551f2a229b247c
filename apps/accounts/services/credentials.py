"""Check passwords, and sign users in with them. An attempt is counted before its one hash is computed."""

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError

from apps.accounts.hashers import HashingBusy
from apps.accounts.models import SecurityEventKind, Transport, User
from apps.accounts.services.attempts import (
    Attempt,
    AttemptPurpose,
    TooManyAttempts,
    attempt_begin,
    attempt_cancel,
    attempt_succeeded,
)
from apps.accounts.services.devices import device_known
from apps.accounts.services.events import Origin, event_record
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.sessions import TokenPair, session_start
from apps.accounts.services.tokens import TokenRefused, Unauthorized
from apps.practices.errors import FieldError, Problem
from apps.practices.validation.addresses import email_normalised


class CredentialsRefused(Unauthorized, type="credentials-refused", title="Sign-in refused"):
    """401: no active account has this address and this password. Does not reveal which of them is wrong."""

    explanation = "The e-mail address or the password is wrong, or the account is not active."


class PasswordWrong(Problem, status=403, type="password-wrong", title="Wrong password"):
    """403: the password sent to confirm a change is wrong. Not a 401, which would make a client refresh its tokens."""

    explanation = (
        "This request needs the account's current password, and the one sent is wrong. You are still signed in."
    )


class EmailUnverified(Problem, status=403, type="email-unverified", title="E-mail address not verified"):
    """403: the password is correct, but the address has not been verified (REQUIRE_VERIFIED_EMAIL)."""

    explanation = "Follow the link that was mailed to the account's e-mail address, then sign in again."


def session_login(
    *,
    email: str,
    password: str,
    transport: Transport,
    origin: Origin,
    now: datetime,
    device: str | None = None,
    replaces: UUID | None = None,
) -> TokenPair:
    """Check the password and start a session; raise what `user_authenticate` and `session_start` raise.

    ``replaces`` is the session that the same browser had before, which ends.
    """
    user = user_authenticate(email=email, password=password, origin=origin, now=now, device=device)
    return session_start(user=user, transport=transport, origin=origin, now=now, replaces=replaces)


def user_authenticate(*, email: str, password: str, origin: Origin, now: datetime, device: str | None = None) -> User:
    """Return the active user with this address and password.

    Raise CredentialsRefused, TooManyAttempts, HashingBusy, and EmailUnverified where addresses must be verified. One hash is
    computed whether or not the address exists, so neither the response nor its time reveals that (OWASP ASVS 5.0, 6.3.8). A
    hash made with older parameters is replaced. ``device`` is the value of the browser's device cookie (`device_proof`).
    """
    email = email_normalised(email)
    known = device_known(device, email=email, now=now)
    attempt = attempt_begin(purpose=AttemptPurpose.SIGN_IN, email=email, device=known)
    user = User.objects.filter(email=email).first()
    if not _is_correct(password, user=user, attempt=attempt) or user is None or not user.is_active:
        _record_failure(user, origin=origin, now=now)
        raise CredentialsRefused()
    attempt_succeeded(attempt)
    _require_verified(user)
    return user


def password_confirm(
    *, user_id: UUID, password: str, pointer: str = "/current_password", origin: Origin, now: datetime
) -> User:
    """Return the signed-in user if this is their password; raise PasswordWrong, TooManyAttempts or HashingBusy.

    Raise TokenRefused if the account has just been deleted: this process may not know yet (TOKENS_CHECK_SECONDS). The user
    holds the hash that was checked. ``pointer`` is the field of the body that held the password.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise TokenRefused("The account has been deleted.")
    attempt = attempt_begin(purpose=AttemptPurpose.CONFIRM, email=user.email)
    if not _is_correct(password, user=user, attempt=attempt):
        _record_failure(user, origin=origin, now=now, confirm=True)
        raise PasswordWrong(errors=[FieldError(pointer, "wrong", "This is not the account's current password.")])
    attempt_succeeded(attempt)
    return user


def _is_correct(password: str, *, user: User | None, attempt: Attempt) -> bool:
    """Return whether this is the user's password; compute one hash even if there is no user."""
    try:
        if user is None:
            make_password(password)
            return False
        return check_password(password, user.password, setter=lambda raw: _rehash(user, raw))
    except HashingBusy:
        attempt_cancel(attempt)
        raise


def _require_verified(user: User) -> None:
    """Raise EmailUnverified, and mail a new link, if the user has to verify the address first.

    Only someone who knows the password learns this. If the address has been sent too many mails, the response is the same
    and no link is sent.
    """
    if user.email_verified or not settings.REQUIRE_VERIFIED_EMAIL:
        return
    with suppress(TooManyAttempts):
        attempt_begin(purpose=AttemptPurpose.MAIL, email=user.email)
        mail_submit(template=Mail.VERIFY_EMAIL, user_id=user.pk)
    raise EmailUnverified()


def _record_failure(user: User | None, *, origin: Origin, now: datetime, **detail: Any) -> None:
    kind = SecurityEventKind.SIGN_IN_FAILED
    try:
        event_record(kind, now=now, user_id=user.pk if user else None, origin=origin, **detail)
    except IntegrityError:  # the account was deleted while the hash was computed
        event_record(kind, now=now, user_id=None, origin=origin, **detail)


def _rehash(user: User, password: str) -> None:
    """Store the same password under a hash with the current parameters, unless the password has been changed."""
    renewed = make_password(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=renewed):
        user.password = renewed
