"""Users come, change and go: every write to the user table passes here."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from apps.accounts.managers import email_normalised
from apps.accounts.models import FamilyEnd, User
from apps.accounts.selectors.sessions import sessions_forget
from apps.accounts.selectors.users import USERS_TAG
from apps.accounts.services.sessions import sessions_end
from apps.practices.caching import tags_change
from apps.practices.errors import FieldError, Problem

logger = structlog.get_logger(__name__)


class EmailTaken(Problem):
    """409: an account with this address exists."""

    status = 409
    type = "email-taken"
    title = "Address in use"
    explanation = "An account with this e-mail address exists already. Sign in to it."


class CredentialsRefused(Problem):
    """401: no active account has this address and this password. Never says which of the three is wrong."""

    status = 401
    type = "credentials-refused"
    title = "Sign-in refused"
    explanation = "No active account has this e-mail address and this password."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="api"'})


def user_register(*, email: str, password: str, name: str = "") -> User:
    """Store a new user; raises EmailTaken. The password has passed the validators of its form."""
    email = email_normalised(email)
    if User.objects.filter(email=email).exists():  # saves a hash; the constraint decides between rivals
        raise _taken()
    user = User(email=email, name=name, password=make_password(password))
    try:
        user_save(user=user)
    except IntegrityError as error:
        if isinstance(error.__cause__, UniqueViolation):
            raise _taken() from error
        raise
    logger.info("user_registered", user_id=str(user.pk))
    return user


def _taken() -> EmailTaken:
    return EmailTaken(errors=[FieldError("/email", "unique", "An account with this e-mail address exists already.")])


def user_authenticate(*, email: str, password: str) -> User:
    """Give the active user with this address and password; raises CredentialsRefused.

    One hash is computed whether the address exists or not, so neither the answer nor its time tells (OWASP ASVS 5.0,
    6.3.8). A hash made with older parameters is renewed on the way.
    """
    user = User.objects.filter(email=email_normalised(email)).first()
    if user is None:
        make_password(password)
        raise CredentialsRefused()

    def renew(raw: str) -> None:
        user.password = make_password(raw)
        User.objects.filter(pk=user.pk).update(password=user.password)

    if not check_password(password, user.password, setter=renew) or not user.is_active:
        raise CredentialsRefused()
    return user


def user_update(*, user_id: UUID, name: str | None = None) -> User:
    """Change what a user may change about their own account."""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        if name is not None:
            user.name = name
        user_save(user=user)
    return user


def user_save(*, user: User) -> None:
    """Write a user as it stands, make its sign-ins look again, and drop the cached lists."""
    with transaction.atomic():
        user.save()
        _changed(user)


def user_deactivate(*, user: User, now: datetime) -> None:
    """Close the account's door: every sign-in ends, and none can be made."""
    with transaction.atomic():
        user.is_active = False
        user_save(user=user)
        sessions_end(user_id=user.pk, reason=FamilyEnd.ACCOUNT, now=now)


def user_password_set(*, user: User, password: str | None, now: datetime) -> None:
    """Set a password that has passed the validators, None for an account nobody can sign in to; every sign-in ends."""
    hashed = make_password(password)
    with transaction.atomic():
        user.password = hashed
        user_save(user=user)
        sessions_end(user_id=user.pk, reason=FamilyEnd.PASSWORD, now=now)


def user_delete(*, user: User) -> None:
    """Delete a user with all sign-ins."""
    user_id = user.pk
    with transaction.atomic():
        user.delete()
        tags_change(USERS_TAG)
        transaction.on_commit(lambda: sessions_forget(user_id=user_id))


def _changed(user: User) -> None:
    tags_change(USERS_TAG)
    transaction.on_commit(lambda: sessions_forget(user_id=user.pk))
