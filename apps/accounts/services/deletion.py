"""Delete accounts, with everything that identifies their users."""

from datetime import datetime
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session as BrowserSession
from django.db import transaction
from django.db.models import Q

from apps.accounts.models import SecurityEventKind, Session, Transport, User
from apps.accounts.selectors.sessions import sessions_forget
from apps.accounts.selectors.users import PEOPLE_TAG, USERS_TAG, is_last_administrator
from apps.accounts.services.attempts import attempts_clear
from apps.accounts.services.credentials import password_confirm
from apps.accounts.services.events import Origin, event_record
from apps.accounts.services.mails import KIND as MAIL_KIND
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.sessions import AccountChanged
from apps.accounts.services.tokens import TokenRefused
from apps.jobs.services.purge import jobs_purge, jobs_purge_matching
from apps.practices.caching import tags_change
from apps.practices.errors import Conflict, NotFound
from apps.practices.privacy.personal import personal_data_erase

DELETED = "a deleted account"  # replaces the address in the admin's log


class LastAdministrator(Conflict, type="last-administrator", title="Last administrator"):
    explanation = "This is the only active superuser. Make another account a superuser first."


def account_delete(*, user_id: UUID, password: str, origin: Origin, now: datetime) -> None:
    """Delete the account of a user who confirms it with the password.

    Raise what `password_confirm` raises, AccountChanged if the account has changed since then, TokenRefused if it has just
    been deleted, and LastAdministrator.
    """
    checked = password_confirm(user_id=user_id, password=password, pointer="/password", origin=origin, now=now)
    with transaction.atomic():
        try:
            user = _locked(checked)
        except NotFound as error:
            raise TokenRefused("The account has been deleted.") from error  # by a parallel request
        if user.password != checked.password or not user.is_active:
            raise AccountChanged()
        _erase(user, now=now, by="owner")


def user_delete(*, user: User, now: datetime) -> None:
    """Delete a user's account as an administrator; raise NotFound if it is already deleted, or LastAdministrator."""
    with transaction.atomic():
        _erase(_locked(user), now=now, by="administrator")


def _locked(user: User) -> User:
    """Lock the user against sign-ins and changes, and with a superuser all superusers, as one must remain; raise NotFound."""
    wanted = Q(pk=user.pk)
    if user.is_superuser:
        wanted |= Q(is_superuser=True, is_active=True)
    found = {one.pk: one for one in User.objects.select_for_update(no_key=True).filter(wanted).order_by("pk")}
    if user.pk not in found:
        raise NotFound()
    return found[user.pk]


def _erase(user: User, *, now: datetime, by: str) -> None:
    """Delete the locked user in the caller's transaction, and mail the address.

    Lock order, to avoid deadlocks: jobs first, then the user. A job writes its effects, then its own row, and its reference to
    the owner is checked when it commits. Once the user is locked for update, no new row can refer to it.
    """
    if is_last_administrator([user.pk]):
        raise LastAdministrator()
    user_id, email = user.pk, user.email
    jobs_purge(owner_id=user_id)
    User.objects.select_for_update().get(pk=user_id)
    _admin_forget(user)
    jobs_purge_matching(kind=MAIL_KIND, user_id=str(user_id), address=email)
    attempts_clear(email=email)
    personal_data_erase(user_id=user_id, now=now)
    user.delete()
    event_record(SecurityEventKind.DELETED, now=now, user_id=None, by=by)
    mail_submit(template=Mail.ACCOUNT_DELETED, address=email)
    tags_change(USERS_TAG, PEOPLE_TAG)
    transaction.on_commit(lambda: sessions_forget(user_id=user_id))


def _admin_forget(user: User) -> None:
    """Remove the account from the admin's log of changes to it, and from the browser sessions."""
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=kind, object_id=str(user.pk)).update(object_id=None, object_repr=DELETED)
    if Session.objects.filter(user_id=user.pk, transport=Transport.ADMIN).exists():
        # They name their user in encoded data, which no query can search. There are few: twelve hours of the admin's.
        sessions = [
            one.pk for one in BrowserSession.objects.iterator() if one.get_decoded().get(SESSION_KEY) == str(user.pk)
        ]
        BrowserSession.objects.filter(pk__in=sessions).delete()
