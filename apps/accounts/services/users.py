"""Users come, change and go: every write to the user table passes here."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.contrib.auth.hashers import make_password
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
