"""Whether a password is the account's: one hash for each try, counted before it is computed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError

from apps.accounts.hashers import HashingBusy
from apps.accounts.models import SecurityEventKind, User
from apps.accounts.services.attempts import Attempt, AttemptPurpose, attempt_begin, attempt_return, attempt_succeeded
from apps.accounts.services.devices import device_known
from apps.accounts.services.events import Origin, event_record
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.services.verification import verified_require
from apps.practices.errors import FieldError, Problem
from apps.practices.validation.addresses import email_normalised


class CredentialsRefused(Problem):
    """401: no active account has this address and this password. Never says which of the three is wrong."""

    status = 401
    type = "credentials-refused"
    title = "Sign-in refused"
    explanation = "No active account has this e-mail address and this password."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="api"'})


class PasswordWrong(Problem):
    """403: the password that was asked for again is not the account's. Not a 401, which would tell a client to sign in."""

    status = 403
    type = "password-wrong"
    title = "Wrong password"
    explanation = "This needs the account's present password, and what was sent is not it. The sign-in goes on."


def user_authenticate(*, email: str, password: str, origin: Origin, now: datetime, device: str | None = None) -> User:
    """Give the active user with this address and password; raises CredentialsRefused, TooManyAttempts and HashingBusy, and
    EmailUnverified where addresses have to be verified.

    One hash is computed whether the address exists or not, so neither the answer nor its time tells (OWASP ASVS 5.0,
    6.3.8). A hash made with older parameters is renewed on the way. ``device`` is what the browser holds of `device_proof`.
    """
    email = email_normalised(email)
    known = device_known(device, email=email, now=now)
    attempt = attempt_begin(purpose=AttemptPurpose.SIGN_IN, email=email, device=known)
    user = User.objects.filter(email=email).first()
    if not _fits(user, password, attempt=attempt) or user is None or not user.is_active:
        _record_failure(user, origin=origin, now=now)
        raise CredentialsRefused()
    attempt_succeeded(attempt)
    verified_require(user=user)
    return user


def password_check_again(
    *, user_id: UUID, password: str, pointer: str = "/current_password", origin: Origin, now: datetime
) -> User:
    """Give the signed-in user whose password this is; raises PasswordWrong, TooManyAttempts and HashingBusy.

    And TokenRefused when the account has just been deleted, which another process may learn within TOKENS_CHECK_SECONDS.

    What it gives holds the hash that was checked. ``pointer`` is where the password stood in the body.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise TokenRefused("The account is gone.")
    attempt = attempt_begin(purpose=AttemptPurpose.AGAIN, email=user.email)
    if not _fits(user, password, attempt=attempt):
        _record_failure(user, origin=origin, now=now, again=True)
        raise PasswordWrong(errors=[FieldError(pointer, "wrong", "This is not the account's password.")])
    attempt_succeeded(attempt)
    return user


def _fits(user: User | None, password: str, *, attempt: Attempt) -> bool:
    """Whether it is the user's password, at the price of one hash, which is computed for nobody too."""
    try:
        if user is None:
            make_password(password)
            return False
        return check_password(password, user.password, setter=lambda raw: _renew(user, raw))
    except HashingBusy:
        attempt_return(attempt)
        raise


def _record_failure(user: User | None, *, origin: Origin, now: datetime, **detail: Any) -> None:
    kind = SecurityEventKind.SIGN_IN_FAILED
    try:
        event_record(kind, now=now, user_id=user.pk if user else None, origin=origin, **detail)
    except IntegrityError:  # the account was deleted while the hash was computed
        event_record(kind, now=now, user_id=None, origin=origin, **detail)


def _renew(user: User, password: str) -> None:
    """Keep the same password under a hash of today's parameters, unless it has been changed meanwhile."""
    renewed = make_password(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=renewed):
        user.password = renewed
