"""Signing in to pages. The browser's session names a sign-in, a row like any other, and is worth as much as that row."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.authentication import origin_of
from apps.accounts.models import FamilyEnd, Transport, User
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.sessions import family_start, session_end

FAMILY = "sign-in"  # the key in the browser's session


def page_family(request: HttpRequest) -> UUID | None:
    """Give the id of the sign-in that the browser's session names."""
    stored = request.session.get(FAMILY)
    return UUID(stored) if stored else None


def page_user(request: HttpRequest) -> User | AnonymousUser:
    """Give the user of a sign-in that stands; a session that names none is of no use and goes."""
    family_id = page_family(request)
    now = timezone.now()
    user = session_user(family_id=family_id, transport=Transport.ADMIN, now=now) if family_id else None
    if user is not None and request.session.get(SESSION_KEY) == str(user.pk):
        return user
    if SESSION_KEY in request.session or family_id:
        request.session.flush()
    return AnonymousUser()


def page_sign_in(request: HttpRequest, *, user: User, replaces: UUID | None = None) -> None:
    """Let a user in whose password was checked just now, under a session key of its own; raises SignInOvertaken.

    ``replaces`` is the sign-in that the same browser had before.
    """
    now, origin = timezone.now(), origin_of(request)
    family = family_start(user=user, origin=origin, now=now, transport=Transport.ADMIN)
    if replaces is not None:
        session_end(family_id=replaces, reason=FamilyEnd.LOGOUT, now=now, origin=origin)
    login(request, user)
    request.session[FAMILY] = str(family.pk)


def page_sign_out(request: HttpRequest) -> None:
    """End the sign-in that the browser's session names."""
    family_id = page_family(request)
    if family_id is not None:
        session_end(family_id=family_id, reason=FamilyEnd.LOGOUT, now=timezone.now(), origin=origin_of(request))
