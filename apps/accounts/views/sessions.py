"""List and end one's sessions."""

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.filters import SESSIONS
from apps.accounts.models import EndReason
from apps.accounts.selectors.sessions import session_list
from apps.accounts.serializers import SessionSerializer
from apps.accounts.services.sessions import session_end_own, sessions_end
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.transports import CsrfTokenRefused, cookies_delete, has_cookies
from apps.accounts.views.base import AccountView
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.mechanisms.requests import django_request


class Sessions(AccountView):
    query_parsers = {"GET": SESSIONS.parse}

    @extend_schema(
        operation_id="auth_sessions_list",
        summary="List your sessions",
        description="Your active sessions, including those of the admin: one for each place where you are signed in.",
        parameters=SESSIONS.parameters(),
        responses={200: page_of(SessionSerializer), **problems(401, TokenRefused)},
    )
    def get(self, request: Request) -> JSONResponse:
        page = SESSIONS.read(self.query, session_list, user_id=self.user.pk, current=self.session_id, now=self.now)
        return JSONResponse(page.body())

    @extend_schema(
        operation_id="auth_sessions_end",
        summary="End your other sessions",
        description="Signs you out everywhere else: ends all your sessions except the one that sends this request.",
        request=None,
        responses={204: OpenApiResponse(description="Ended."), **problems(401, TokenRefused, CsrfTokenRefused)},
    )
    def delete(self, request: Request) -> Response:
        sessions_end(
            user_id=self.user.pk, reason=EndReason.OWNER, keep=self.session_id, now=self.now, origin=self.origin
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionDetail(AccountView):
    @extend_schema(
        operation_id="auth_session_end",
        summary="End a session",
        description="Ends one of your sessions. Ending the one that sends this request signs you out.",
        request=None,
        responses={204: OpenApiResponse(description="Ended."), **problems(401, 404, TokenRefused, CsrfTokenRefused)},
    )
    def delete(self, request: Request, id: UUID) -> Response:
        session_end_own(user_id=self.user.pk, session_id=id, now=self.now, origin=self.origin)
        response = Response(status=status.HTTP_204_NO_CONTENT)
        if id == self.session_id and has_cookies(django_request(request)):
            cookies_delete(response)
        return response
