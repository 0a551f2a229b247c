"""Where one is signed in, over HTTP."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.filters import SESSIONS
from apps.accounts.models import EndReason, User
from apps.accounts.selectors.sessions import session_list
from apps.accounts.serializers import SessionSerializer
from apps.accounts.services.sessions import session_end_own, sessions_end
from apps.accounts.services.tokens import SessionToken, TokenRefused
from apps.accounts.transports import CsrfTokenRefused, cookies_forget, has_cookies
from apps.accounts.views.base import AccountView
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.requests import django_request


class Sessions(AccountView):
    query_parsers = {"GET": SESSIONS.parse}

    @extend_schema(
        operation_id="auth_sessions_list",
        summary="List where you are signed in",
        description="Your sign-ins that stand, those to the admin included.",
        parameters=SESSIONS.parameters(),
        responses={200: page_of(SessionSerializer), **problems(401, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        user = cast("User", request.user)
        rows = session_list(user_id=user.pk, current=_current(request), now=self.now)
        return Response(SESSIONS.read(self.query, rows).body())

    @extend_schema(
        operation_id="auth_sessions_end",
        summary="Sign out everywhere else",
        description="Ends all your sign-ins but the one that asks.",
        request=None,
        responses={204: OpenApiResponse(description="Signed out."), **problems(401, TokenRefused, CsrfTokenRefused)},
    )
    def delete(self, request: Request) -> Response:
        user = cast("User", request.user)
        sessions_end(
            user_id=user.pk,
            reason=EndReason.OWNER,
            keep=_current(request),
            now=self.now,
            origin=self.origin,
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionDetail(AccountView):
    @extend_schema(
        operation_id="auth_session_end",
        summary="Sign out in one place",
        description="Ends one of your sign-ins. Ending the one that asks is signing out.",
        request=None,
        responses={
            204: OpenApiResponse(description="Signed out there."),
            **problems(401, 404, TokenRefused, CsrfTokenRefused),
        },
    )
    def delete(self, request: Request, id: UUID) -> Response:
        user = cast("User", request.user)
        session_end_own(user_id=user.pk, session_id=id, now=self.now, origin=self.origin)
        response = Response(status=status.HTTP_204_NO_CONTENT)
        if id == _current(request) and has_cookies(django_request(request)):
            cookies_forget(response)
        return response


def _current(request: Request) -> UUID | None:
    """Give the sign-in that asks."""
    return getattr(cast("SessionToken | None", request.auth), "session_id", None)
