"""Change a password, or reset it with a mailed link."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import CookieAuthentication
from apps.accounts.models import Transport
from apps.accounts.schema import SET_COOKIE
from apps.accounts.serializers import EmailSerializer, PasswordChangeSerializer, PasswordResetSerializer
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.links import LinkRefused
from apps.accounts.services.passwords import password_change, password_reset, password_reset_request
from apps.accounts.services.sessions import AccountChanged
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.views.base import NO_STORE, SIGNED_IN, AccountView, CredentialView, token_response
from apps.accounts.views.emails import MAILED
from apps.practices.errors.schema import problems
from apps.practices.throttling.throttles import LoginThrottle, UserThrottle


class PasswordChange(AccountView):
    throttle_classes = (LoginThrottle, UserThrottle)

    @extend_schema(
        operation_id="auth_password_change",
        summary="Change your password",
        description=(
            "Ends every session of the account, including this one, and returns the tokens of a new session with the same "
            "transport. The account's owner gets a mail."
        ),
        request=PasswordChangeSerializer,
        parameters=[SET_COOKIE],
        responses={
            200: SIGNED_IN,
            **problems(401, 413, 415, TokenRefused, AccountChanged, PasswordWrong, TooManyAttempts),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(PasswordChangeSerializer)
        by_cookie = isinstance(request.successful_authenticator, CookieAuthentication)
        pair = password_change(
            **body,
            user_id=self.user.pk,
            transport=Transport.COOKIE if by_cookie else Transport.BEARER,
            origin=self.origin,
            now=self.now,
        )
        return token_response(pair, now=self.now)


class PasswordReset(CredentialView):
    @extend_schema(
        operation_id="auth_password_reset",
        summary="Request a link to set a new password",
        auth=[],
        request=EmailSerializer,
        responses={202: MAILED, **problems(413, 415, TooManyAttempts)},
    )
    def post(self, request: Request) -> Response:
        password_reset_request(**self.body(EmailSerializer))
        return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)


class PasswordResetConfirm(CredentialView):
    @extend_schema(
        operation_id="auth_password_reset_confirm",
        summary="Set a new password with a mailed link",
        description="Also verifies the e-mail address, and ends every session of the account. The account's owner gets a mail.",
        auth=[],
        request=PasswordResetSerializer,
        responses={
            204: OpenApiResponse(description="The password is set. You can sign in with it."),
            **problems(413, 415, LinkRefused),
        },
    )
    def post(self, request: Request) -> Response:
        password_reset(**self.body(PasswordResetSerializer), origin=self.origin, now=self.now)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)
