"""Read, change, export and delete one's own account."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from apps.accounts.selectors.users import user_read
from apps.accounts.serializers import AccountDeleteSerializer, MeSerializer, UserSerializer
from apps.accounts.services.account import account_update
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.deletion import LastAdministrator, account_delete
from apps.accounts.services.exports import ExportUnderWay, export_submit
from apps.accounts.services.sessions import AccountChanged
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.transports import cookies_delete, has_cookies
from apps.accounts.views.base import AccountView
from apps.jobs.idempotency import idempotent
from apps.jobs.services.quota import FilesQuotaExceeded, StorageFull
from apps.jobs.services.submission import TooManyJobs
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.caching import refuse_if_any
from apps.practices.errors import NotFound
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.mechanisms.requests import django_request
from apps.practices.throttling.throttles import LoginThrottle
from apps.practices.validation.schema import delete_with_body
from apps.practices.validation.serializers import StrictSerializer

PASSWORD_METHODS = ("PATCH", "DELETE")


class Me(AccountView):
    def get_throttles(self) -> list[BaseThrottle]:
        extra = [LoginThrottle()] if self.request.method in PASSWORD_METHODS else []
        return [*super().get_throttles(), *extra]

    @extend_schema(
        operation_id="me_read",
        summary="Read your account",
        responses={200: UserSerializer, **problems(401, TokenRefused)},
    )
    def get(self, request: Request) -> JSONResponse:
        try:
            return JSONResponse(user_read(user_id=self.user.pk))
        except NotFound as error:
            # Another process has just deleted it, and this one has not checked the session since.
            raise TokenRefused("The account has been deleted.") from error

    @extend_schema(
        operation_id="me_update",
        summary="Change your account",
        description=(
            "To change `email`, send `current_password` too. A link is mailed to the new address, which becomes the account's "
            "once the link is followed; until then the response shows the current address. It does not reveal whether another "
            "account has the new one."
        ),
        request=MeSerializer,
        responses={200: UserSerializer, **problems(401, 412, 413, 415, TokenRefused, PasswordWrong, TooManyAttempts)},
    )
    def patch(self, request: Request) -> Response:
        refuse_if_any(django_request(request))
        body = self.body(MeSerializer)
        user = account_update(user_id=self.user.pk, origin=self.origin, now=self.now, **body)
        return Response(UserSerializer(user).data)

    @extend_schema(
        operation_id="me_delete",
        summary="Delete your account",
        description=(
            "Permanently deletes the account and everything that only you can see. What you have published may stay, without "
            "your name. All sessions end, and a mail confirms the deletion."
        ),
        request=AccountDeleteSerializer,
        responses={
            204: OpenApiResponse(description="Deleted."),
            **problems(
                401, 412, 413, 415, TokenRefused, AccountChanged, PasswordWrong, LastAdministrator, TooManyAttempts
            ),
        },
    )
    @delete_with_body
    def delete(self, request: Request) -> Response:
        refuse_if_any(django_request(request))
        body = self.body(AccountDeleteSerializer)
        account_delete(user_id=self.user.pk, origin=self.origin, now=self.now, **body)
        response = Response(status=status.HTTP_204_NO_CONTENT)
        if has_cookies(django_request(request)):
            cookies_delete(response)
        return response


class MeExport(AccountView):
    @extend_schema(
        operation_id="me_export",
        summary="Export your data",
        description=(
            "Starts a job whose result is a file with one JSON object per line: `of` is the kind of data, `row` the values. An "
            "account has one export at a time; a new one replaces the last."
        ),
        request=None,
        responses={
            202: ACCEPTED,
            **problems(401, 415, TokenRefused, ExportUnderWay, TooManyJobs, FilesQuotaExceeded, StorageFull),
        },
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        self.body(StrictSerializer)
        return submitted(export_submit(user=self.user))
