"""Create and change users. Every write to the user table goes through this module."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import DatabaseError, transaction

from apps.accounts.models import EndReason, SecurityEventKind, User
from apps.accounts.selectors.sessions import sessions_forget
from apps.accounts.selectors.users import PEOPLE_TAG, USERS_TAG
from apps.accounts.services.attempts import AttemptPurpose, attempt_begin
from apps.accounts.services.events import NOWHERE, Origin, event_record
from apps.accounts.services.links import links_delete
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.sessions import sessions_end
from apps.practices.caching import tags_change
from apps.practices.database.writes import row_insert
from apps.practices.errors import FieldError, NotFound, Problem
from apps.practices.validation.addresses import email_normalised


class EmailTaken(Problem, status=409, type="email-taken", title="E-mail address in use"):
    explanation = "An account with this e-mail address already exists. Sign in, or reset its password."


def user_register(*, email: str, password: str, name: str = "", origin: Origin = NOWHERE, now: datetime) -> User | None:
    """Store a new user and mail a link to verify the address; raise EmailTaken or TooManyAttempts.

    With REQUIRE_VERIFIED_EMAIL, return None and do the same work whether or not the address is free: its owner gets a
    mail. The caller has validated the password.
    """
    attempt_begin(purpose=AttemptPurpose.MAIL, email=email)
    email = email_normalised(email)
    is_open = not settings.REQUIRE_VERIFIED_EMAIL
    if is_open and User.objects.filter(email=email).exists():  # saves a hash; the unique constraint settles races
        raise _taken()
    user = User(email=email, name=name, password=make_password(password))
    with transaction.atomic():
        if row_insert(user):
            _changed(user)
            event_record(SecurityEventKind.REGISTERED, now=now, user_id=user.pk, origin=origin)
            mail_submit(template=Mail.VERIFY_EMAIL, user_id=user.pk)
        elif is_open:
            raise _taken()
        else:
            mail_submit(template=Mail.REGISTERED_AGAIN, address=email)
    return user if is_open else None


def _taken() -> EmailTaken:
    return EmailTaken(errors=[FieldError("/email", "unique", "An account with this e-mail address already exists.")])


def user_save(*, user: User, fields: Collection[str] = ()) -> None:
    """Insert a new user, or update these fields of a stored one; then drop what is cached of the user.

    Other fields stay as they are in the database, so a form that was open for minutes does not restore an old password. Raise
    NotFound if the user has been deleted.
    """
    with transaction.atomic():
        if user._state.adding:
            user.save(force_insert=True)
        else:
            _update(user, fields={*fields, "updated_at"})
        _changed(user, fields)


def user_email_set(*, user: User, former: str, by: str, origin: Origin, now: datetime) -> None:
    """Store a user's new address, delete the links mailed to them, and mail the ``former`` address.

    Runs in the caller's transaction. ``by`` says for the account's history who or what allowed the change.
    """
    user_save(user=user, fields=("email", "email_verified"))
    links_delete(user_id=user.pk)
    event_record(SecurityEventKind.EMAIL_CHANGED, now=now, user_id=user.pk, origin=origin, by=by)
    mail_submit(template=Mail.EMAIL_CHANGED, address=former)


def user_deactivate(*, user: User, now: datetime) -> None:
    with transaction.atomic():
        user.is_active = False
        user_save(user=user, fields=("is_active",))
        sessions_end(user_id=user.pk, reason=EndReason.ACCOUNT, now=now)


def user_password_set(*, user: User, password: str | None, now: datetime) -> None:
    """Set a user's password as an administrator; None makes it unusable. The caller has validated the password."""
    hashed = make_password(password)
    with transaction.atomic():
        user_hash_set(user=user, hashed=hashed, by="administrator", origin=NOWHERE, now=now)


def user_hash_set(*, user: User, hashed: str, by: str, origin: Origin, now: datetime) -> None:
    """Store the hash of a new password, end every session and mailed link, and mail the user.

    Runs in the caller's transaction. ``by`` says for the account's history who or what allowed the change.
    """
    user.password = hashed
    user_save(user=user, fields=("password",))
    sessions_end(user_id=user.pk, reason=EndReason.PASSWORD, now=now, origin=origin)
    links_delete(user_id=user.pk)  # someone with the old password may have requested a new address
    event_record(SecurityEventKind.PASSWORD_CHANGED, now=now, user_id=user.pk, origin=origin, by=by)
    mail_submit(template=Mail.PASSWORD_CHANGED, user_id=user.pk)


def _update(user: User, *, fields: Collection[str]) -> None:
    try:
        user.save(update_fields=fields)
    except DatabaseError as error:
        if error.__cause__ is None:  # raised by Django because no row matched, not by PostgreSQL
            raise NotFound() from error
        raise


def _changed(user: User, fields: Collection[str] = ()) -> None:
    tags_change(USERS_TAG, *([PEOPLE_TAG] if "name" in fields else []))
    transaction.on_commit(lambda: sessions_forget(user_id=user.pk))
