"""Signing in to pages. The browser's session names a sign-in, a row like any other, and is worth as much as that row."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.authentication import origin_of
from apps.accounts.models import EndReason, Transport, User
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.sessions import session_create, session_end

SESSION_ID = "session_id"  # the key in the browser's session


def page_session_id(request: HttpRequest) -> UUID | None:
    """Give the id of the sign-in that the browser's session names."""
    stored = request.session.get(SESSION_ID)
    return UUID(stored) if stored else None


def page_user(request: HttpRequest) -> User | AnonymousUser:
    """Give the user of a sign-in that stands; a session that names none is of no use and goes."""
    session_id = page_session_id(request)
    now = timezone.now()
    user = session_user(session_id=session_id, transport=Transport.ADMIN, now=now) if session_id else None
    if user is not None and request.session.get(SESSION_KEY) == str(user.pk):
        return user
    if SESSION_KEY in request.session or session_id:
        request.session.flush()
    return AnonymousUser()


def page_sign_in(request: HttpRequest, *, user: User, replaces: UUID | None = None) -> None:
    """Let a user in whose password was checked just now, under a session key of its own; raises SignInOvertaken.

    ``replaces`` is the sign-in that the same browser had before.
    """
    now, origin = timezone.now(), origin_of(request)
    session = session_create(user=user, origin=origin, now=now, transport=Transport.ADMIN)
    if replaces is not None:
        session_end(session_id=replaces, reason=EndReason.LOGOUT, now=now, origin=origin)
    login(request, user)
    request.session[SESSION_ID] = str(session.pk)


def page_sign_out(request: HttpRequest) -> None:
    """End the sign-in that the browser's session names."""
    session_id = page_session_id(request)
    if session_id is not None:
        session_end(session_id=session_id, reason=EndReason.LOGOUT, now=timezone.now(), origin=origin_of(request))
