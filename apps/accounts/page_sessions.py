"""Sign in to pages. The browser's Django session stores the id of a `Session`, and is valid only while that is active."""

from uuid import UUID

from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.authentication import origin_of
from apps.accounts.models import EndReason, Transport, User
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.sessions import session_create, session_end

SESSION_ID = "session_id"  # the key in the Django session


def page_session_id(request: HttpRequest) -> UUID | None:
    """Return the id of the browser's session, if it has one."""
    stored = request.session.get(SESSION_ID)
    return UUID(stored) if stored else None


def page_user(request: HttpRequest) -> User | AnonymousUser:
    """Return the user of the browser's session if it is active; otherwise clear the Django session."""
    session_id = page_session_id(request)
    now = timezone.now()
    user = session_user(session_id=session_id, transport=Transport.ADMIN, now=now) if session_id else None
    if user is not None and request.session.get(SESSION_KEY) == str(user.pk):
        request.page_session_id = session_id  # type: ignore[attr-defined]  # read by the access line
        return user
    if SESSION_KEY in request.session or session_id:
        request.session.flush()
    return AnonymousUser()


def page_sign_in(request: HttpRequest, *, user: User, replaces: UUID | None = None) -> None:
    """Sign in a user whose password has just been checked, under a new session key; raise AccountChanged.

    ``replaces`` is the session that the same browser had before, which ends.
    """
    now, origin = timezone.now(), origin_of(request)
    session = session_create(user=user, origin=origin, now=now, transport=Transport.ADMIN, replaces=replaces)
    login(request, user)
    request.session[SESSION_ID] = str(session.pk)


def page_sign_out(request: HttpRequest) -> None:
    session_id = page_session_id(request)
    if session_id is not None:
        session_end(session_id=session_id, reason=EndReason.LOGOUT, now=timezone.now(), origin=origin_of(request))
