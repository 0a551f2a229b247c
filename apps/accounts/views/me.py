"""One's own account over HTTP."""

from __future__ import annotations

from typing import cast

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from apps.accounts.models import User
from apps.accounts.selectors.users import user_read
from apps.accounts.serializers import AccountDeleteSerializer, MeSerializer, UserSerializer
from apps.accounts.services.account import account_update
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.deletion import LastAdministrator, account_delete
from apps.accounts.services.exports import ExportUnderWay, export_submit
from apps.accounts.services.sessions import SignInOvertaken
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.transports import cookies_forget, has_cookies
from apps.accounts.views.base import AccountView
from apps.jobs.idempotency import idempotent
from apps.jobs.services.quota import FilesQuota, StorageFull
from apps.jobs.services.submission import TooManyJobs
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.caching import refuse_if_any
from apps.practices.errors import NotFound
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.requests import django_request
from apps.practices.throttling.throttles import LoginThrottle
from apps.practices.validation.schema import delete_with_body
from apps.practices.validation.serializers import StrictSerializer

TAKE_A_PASSWORD = ("PATCH", "DELETE")


class Me(AccountView):
    def get_throttles(self) -> list[BaseThrottle]:
        extra = [LoginThrottle()] if self.request.method in TAKE_A_PASSWORD else []
        return [*super().get_throttles(), *extra]

    @extend_schema(
        operation_id="me_read",
        summary="Read your account",
        responses={200: UserSerializer, **problems(401, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        try:
            return Response(user_read(user_id=_user(request).pk))
        except NotFound as error:
            # Another process has just deleted it; what this one remembers of the sign-in is a second old.
            raise TokenRefused("The account is gone.") from error

    @extend_schema(
        operation_id="me_update",
        summary="Change your account",
        description=(
            "Another `email` needs `current_password`. The answer shows the present address: a link is mailed to the new "
            "one, which becomes the account's when it is followed. Whether somebody has it already is not told."
        ),
        request=MeSerializer,
        responses={200: UserSerializer, **problems(401, 412, 413, 415, TokenRefused, PasswordWrong, TooManyAttempts)},
    )
    def patch(self, request: Request) -> Response:
        refuse_if_any(django_request(request))
        body = self.body(MeSerializer)
        user = account_update(
            user_id=_user(request).pk,
            origin=self.origin,
            now=self.now,
            **body,
        )
        return Response(UserSerializer(user).data)

    @extend_schema(
        operation_id="me_delete",
        summary="Delete your account",
        description=(
            "For good, with everything that is yours alone; what you have published for others may stay, without your name. "
            "Every sign-in ends. A mail tells the account's address."
        ),
        request=AccountDeleteSerializer,
        responses={
            204: OpenApiResponse(description="Deleted."),
            **problems(
                401, 412, 413, 415, TokenRefused, SignInOvertaken, PasswordWrong, LastAdministrator, TooManyAttempts
            ),
        },
    )
    @delete_with_body
    def delete(self, request: Request) -> Response:
        refuse_if_any(django_request(request))
        body = self.body(AccountDeleteSerializer)
        account_delete(
            user_id=_user(request).pk,
            origin=self.origin,
            now=self.now,
            **body,
        )
        response = Response(status=status.HTTP_204_NO_CONTENT)
        if has_cookies(django_request(request)):
            cookies_forget(response)
        return response


class MeExport(AccountView):
    @extend_schema(
        operation_id="me_export",
        summary="Export what is held of you",
        description=(
            "A job, whose result is a file of one JSON object a line: `of` says what it is, `row` holds the values. One at a "
            "time; the file of the one before goes."
        ),
        request=None,
        responses={
            202: ACCEPTED,
            **problems(401, 415, TokenRefused, ExportUnderWay, TooManyJobs, FilesQuota, StorageFull),
        },
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        self.body(StrictSerializer)
        return submitted(export_submit(user=_user(request)))


def _user(request: Request) -> User:
    return cast("User", request.user)
