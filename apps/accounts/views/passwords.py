"""A new password: by the present one, or by a mailed link."""

from __future__ import annotations

from typing import cast

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.authentication import CookieAuthentication, origin_of
from apps.accounts.models import Transport, User
from apps.accounts.schema import SET_COOKIE
from apps.accounts.serializers import EmailSerializer, PasswordChangeSerializer, PasswordResetSerializer
from apps.accounts.services.attempts import AttemptPurpose, TooManyAttempts, attempt_begin
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.links import LinkRefused
from apps.accounts.services.passwords import password_change, password_reset, password_reset_request
from apps.accounts.services.sessions import SignInOvertaken
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.views.credentials import NO_STORE, SIGNED_IN, CredentialView, signed_in
from apps.accounts.views.emails import MAILED
from apps.practices.errors.schema import problems
from apps.practices.throttling.throttles import LoginThrottle, UserThrottle
from apps.practices.validation.query import query_parameters


class PasswordChange(APIView):
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
        query_parameters(request, {})
        body = PasswordChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        by_cookie = isinstance(request.successful_authenticator, CookieAuthentication)
        now = timezone.now()
        pair = password_change(
            **body.validated_data,
            user_id=cast("User", request.user).pk,
            transport=Transport.COOKIE if by_cookie else Transport.BEARER,
            origin=origin_of(request._request),
            now=now,
        )
        return signed_in(pair, now=now)


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
        query_parameters(request, {})
        body = EmailSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        attempt_begin(purpose=AttemptPurpose.RESET, email=body.validated_data["email"])
        password_reset_request(**body.validated_data)
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
        query_parameters(request, {})
        body = PasswordResetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        password_reset(**body.validated_data, origin=origin_of(request._request), now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)
