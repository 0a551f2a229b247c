"""Users come, change and go: every write to the user table passes here."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import DatabaseError, transaction

from apps.accounts.models import EndReason, SecurityEventKind, User
from apps.accounts.selectors.sessions import sessions_forget
from apps.accounts.selectors.users import PEOPLE_TAG, USERS_TAG
from apps.accounts.services.events import NOWHERE, Origin, event_record
from apps.accounts.services.links import links_end
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.sessions import sessions_end
from apps.accounts.services.tokens import TokenRefused
from apps.practices.caching import tags_change
from apps.practices.database.writes import row_insert
from apps.practices.errors import FieldError, NotFound, Problem
from apps.practices.validation.addresses import email_normalised


class EmailTaken(Problem):
    """409: an account with this address exists."""

    status = 409
    type = "email-taken"
    title = "Address in use"
    explanation = "An account with this e-mail address exists already. Sign in to it."


def user_register(*, email: str, password: str, name: str = "", origin: Origin = NOWHERE, now: datetime) -> User | None:
    """Store a new user and have its address verified by mail; raises EmailTaken.

    Where addresses have to be verified (REQUIRE_VERIFIED_EMAIL) the answer is None, and the work the same, whether the
    address was free or not: its owner learns by mail. The password has passed the validators of its form.
    """
    email = email_normalised(email)
    is_told = not settings.REQUIRE_VERIFIED_EMAIL
    if is_told and User.objects.filter(email=email).exists():  # saves a hash; the constraint decides between rivals
        raise _taken()
    user = User(email=email, name=name, password=make_password(password))
    with transaction.atomic():
        if row_insert(user):
            _changed(user)
            event_record(SecurityEventKind.REGISTERED, now=now, user_id=user.pk, origin=origin)
            mail_submit(template=Mail.VERIFY_EMAIL, user_id=user.pk)
        elif is_told:
            raise _taken()
        else:
            mail_submit(template=Mail.REGISTERED_AGAIN, address=email)
    return user if is_told else None


def _taken() -> EmailTaken:
    return EmailTaken(errors=[FieldError("/email", "unique", "An account with this e-mail address exists already.")])


def user_update(*, user_id: UUID, name: str | None = None) -> User:
    """Change what a user may change about their own account; raises TokenRefused when it has just been deleted."""
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise TokenRefused("The account is gone.")
        if name is not None:
            user.name = name
        user_save(user=user, fields=("name",) if name is not None else ())
    return user


def user_save(*, user: User, fields: Collection[str] = ()) -> None:
    """Write a new user, or of a stored one these fields alone; make its sign-ins look again, and drop what is cached of it.

    What somebody else has changed since the user was read stays: a form that was open for minutes undoes no new password.
    Raises NotFound when the user has gone since.
    """
    with transaction.atomic():
        if user._state.adding:
            user.save(force_insert=True)
        else:
            _update(user, fields={*fields, "updated_at"})
        _changed(user, fields)


def user_email_set(*, user: User, former: str, by: str, origin: Origin, now: datetime) -> None:
    """Write a user whose address is another one than the ``former``, which is told, and whose links end.

    In the caller's transaction. ``by`` is what showed that it may be set: for the account's history.
    """
    user_save(user=user, fields=("email", "email_verified"))
    links_end(user_id=user.pk)
    event_record(SecurityEventKind.EMAIL_CHANGED, now=now, user_id=user.pk, origin=origin, by=by)
    mail_submit(template=Mail.EMAIL_CHANGED, address=former)


def user_deactivate(*, user: User, now: datetime) -> None:
    """Close the account's door: every sign-in ends, and none can be made."""
    with transaction.atomic():
        user.is_active = False
        user_save(user=user, fields=("is_active",))
        sessions_end(user_id=user.pk, reason=EndReason.ACCOUNT, now=now)


def user_password_set(*, user: User, password: str | None, now: datetime) -> None:
    """Set somebody's password, which has passed the validators; None for an account that nobody can sign in to."""
    hashed = make_password(password)
    with transaction.atomic():
        user_hash_set(user=user, hashed=hashed, by="administrator", origin=NOWHERE, now=now)


def user_hash_set(*, user: User, hashed: str, by: str, origin: Origin, now: datetime) -> None:
    """Store the hash of a new password, with all that it means: every sign-in and mailed link ends, and the owner is told.

    In the caller's transaction. ``by`` is what showed that it may be set: for the account's history.
    """
    user.password = hashed
    user_save(user=user, fields=("password",))
    sessions_end(user_id=user.pk, reason=EndReason.PASSWORD, now=now, origin=origin)
    links_end(user_id=user.pk)  # whoever had the password may have asked for another address
    event_record(SecurityEventKind.PASSWORD_CHANGED, now=now, user_id=user.pk, origin=origin, by=by)
    mail_submit(template=Mail.PASSWORD_CHANGED, user_id=user.pk)


def _update(user: User, *, fields: Collection[str]) -> None:
    try:
        user.save(update_fields=fields)
    except DatabaseError as error:
        if error.__cause__ is None:  # it is Django that has found no row, not PostgreSQL that failed
            raise NotFound() from error
        raise


def _changed(user: User, fields: Collection[str] = ()) -> None:
    tags_change(USERS_TAG, *([PEOPLE_TAG] if "name" in fields else []))
    transaction.on_commit(lambda: sessions_forget(user_id=user.pk))
