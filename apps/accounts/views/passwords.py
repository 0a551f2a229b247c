"""A new password: by the present one, or by a mailed link."""

from __future__ import annotations

from typing import cast

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import CookieAuthentication
from apps.accounts.models import Transport, User
from apps.accounts.schema import SET_COOKIE
from apps.accounts.serializers import EmailSerializer, PasswordChangeSerializer, PasswordResetSerializer
from apps.accounts.services.attempts import AttemptPurpose, TooManyAttempts, attempt_begin
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.links import LinkRefused
from apps.accounts.services.passwords import password_change, password_reset, password_reset_request
from apps.accounts.services.sessions import SignInOvertaken
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.views.base import NO_STORE, AccountView, CredentialView
from apps.accounts.views.credentials import SIGNED_IN, signed_in
from apps.accounts.views.emails import MAILED
from apps.practices.errors.schema import problems
from apps.practices.throttling.throttles import LoginThrottle, UserThrottle


class PasswordChange(AccountView):
    throttle_classes = (LoginThrottle, UserThrottle)

    @extend_schema(
        operation_id="auth_password_change",
        summary="Change your password",
        description=(
            "Ends every sign-in of the account, this one included, and answers with the tokens of a new one, which travel as "
            "the old ones did. The account's address is told."
        ),
        request=PasswordChangeSerializer,
        parameters=[SET_COOKIE],
        responses={
            200: SIGNED_IN,
            **problems(401, 413, 415, TokenRefused, SignInOvertaken, PasswordWrong, TooManyAttempts),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(PasswordChangeSerializer)
        by_cookie = isinstance(request.successful_authenticator, CookieAuthentication)
        pair = password_change(
            **body,
            user_id=cast("User", request.user).pk,
            transport=Transport.COOKIE if by_cookie else Transport.BEARER,
            origin=self.origin,
            now=self.now,
        )
        return signed_in(pair, now=self.now)


class PasswordReset(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_password_reset",
        summary="Have a link to set a new password mailed",
        auth=[],
        request=EmailSerializer,
        responses={202: MAILED, **problems(413, 415, TooManyAttempts)},
    )
    def post(self, request: Request) -> Response:
        body = self.body(EmailSerializer)
        attempt_begin(purpose=AttemptPurpose.RESET, email=body["email"])
        password_reset_request(**body)
        return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)


class PasswordResetConfirm(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_password_reset_confirm",
        summary="Set a new password by a mailed link",
        description="Proves the address too, and ends every sign-in of the account. The account's address is told.",
        auth=[],
        request=PasswordResetSerializer,
        responses={
            204: OpenApiResponse(description="The password is set; sign in with it."),
            **problems(413, 415, LinkRefused),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(PasswordResetSerializer)
        password_reset(**body, origin=self.origin, now=self.now)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)
