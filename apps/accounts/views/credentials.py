"""Register, sign in, refresh and sign out."""

from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import BearerAuthentication, LogoutAuthentication
from apps.accounts.models import EndReason, Transport
from apps.accounts.schema import COOKIE, SET_COOKIE
from apps.accounts.serializers import (
    CSRFTokenSerializer,
    LoginSerializer,
    RefreshSerializer,
    RegisterSerializer,
    UserSerializer,
)
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.credentials import CredentialsRefused, EmailUnverified, session_login
from apps.accounts.services.sessions import AccountChanged, TokenReused, session_end, session_refresh
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.services.users import EmailTaken, user_register
from apps.accounts.transports import (
    CookieRepeated,
    CsrfOriginRefused,
    CsrfTokenRefused,
    TwoTransports,
    cookies_delete,
    csrf_token,
    deleting_cookies,
    device_cookie,
    device_set,
    has_cookies,
    origin_require,
    refresh_presented,
    replaced_session_id,
)
from apps.accounts.views.base import NO_STORE, SIGNED_IN, AccountView, CredentialView, token_response
from apps.practices.errors import NotAuthenticated, PermissionDenied
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.requests import django_request


class Register(CredentialView):
    @extend_schema(
        operation_id="auth_register",
        summary="Create an account",
        description=(
            "Mails a link that verifies the e-mail address. If the service requires verified addresses (REQUIRE_VERIFIED_EMAIL), "
            "the response is always 202, and the owner of an address that is already in use gets a mail. Otherwise it is 201, "
            "or 409 for such an address."
        ),
        auth=[],
        request=RegisterSerializer,
        responses={
            201: OpenApiResponse(UserSerializer, description="Created. You can sign in."),
            202: OpenApiResponse(description="Accepted. A mail to the address explains the next step."),
            **problems(413, 415, EmailTaken, TooManyAttempts),
        },
    )
    def post(self, request: Request) -> Response:
        user = user_register(**self.body(RegisterSerializer), origin=self.origin, now=self.now)
        if user is None:
            return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)
        headers = {**NO_STORE, "Location": reverse("me")}
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED, headers=headers)


class Login(CredentialView):
    @extend_schema(
        operation_id="auth_login",
        summary="Sign in",
        description=(
            "Starts a session. In cookie mode the Origin header must name a listed origin, and the session whose cookies are "
            "replaced ends."
        ),
        auth=[],
        request=LoginSerializer,
        parameters=[SET_COOKIE],
        responses={
            200: SIGNED_IN,
            **problems(
                413, 415, CredentialsRefused, AccountChanged, EmailUnverified, TooManyAttempts, CsrfOriginRefused
            ),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(LoginSerializer)
        by_cookie = body["transport"] == Transport.COOKIE
        if by_cookie:
            origin_require(django_request(request))
        pair = session_login(
            email=body["email"],
            password=body["password"],
            transport=Transport(body["transport"]),
            origin=self.origin,
            now=self.now,
            device=device_cookie(django_request(request)),
            replaces=replaced_session_id(django_request(request)) if by_cookie else None,
        )
        response = token_response(pair, now=self.now)
        if by_cookie:
            device_set(response, email=body["email"], now=self.now)
        return response


class Refresh(CredentialView):
    throttle_classes = AccountView.throttle_classes  # not limited as sign-ins: everyone in an office refreshes all day

    @extend_schema(
        operation_id="auth_refresh",
        summary="Exchange a refresh token for new tokens",
        description=(
            "Send the token in the body. In cookie mode it is in the refresh cookie: send an empty body, from a page of a "
            "listed origin."
        ),
        auth=[],
        request=RefreshSerializer,
        parameters=[SET_COOKIE],
        responses={
            200: SIGNED_IN,
            **problems(
                413, 415, NotAuthenticated, TokenRefused, TokenReused, TwoTransports, CookieRepeated, CsrfOriginRefused
            ),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(RefreshSerializer)
        token, transport = refresh_presented(django_request(request), body=body.get("refresh"))
        try:
            pair = session_refresh(token=token, now=self.now, origin=self.origin, transport=transport)
        except (TokenRefused, TokenReused) as refused:
            if transport == Transport.COOKIE:
                deleting_cookies(refused)
            raise
        return token_response(pair, now=self.now)


class Logout(AccountView):
    authentication_classes = (BearerAuthentication, LogoutAuthentication)

    @extend_schema(
        operation_id="auth_logout",
        summary="Sign out",
        description="Ends this session: its access and refresh tokens stop working at once, and its cookies are deleted.",
        request=None,
        parameters=[SET_COOKIE],
        responses={204: OpenApiResponse(description="Signed out."), **problems(401, TokenRefused, CsrfTokenRefused)},
    )
    def post(self, request: Request) -> Response:
        session_end(session_id=self.session_id, reason=EndReason.LOGOUT, now=self.now, origin=self.origin)
        response = Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)
        if has_cookies(django_request(request)):
            cookies_delete(response)
        return response


class CSRF(AccountView):
    @extend_schema(
        operation_id="auth_csrf",
        summary="Read the CSRF token",
        description="For a page in cookie mode that was reloaded. Needs the access cookie: if it has expired, refresh first.",
        auth=[{COOKIE: []}],  # type: ignore[list-item]  # annotated as names, written into the document as it is
        responses={200: CSRFTokenSerializer, **problems(401, 403, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        if not has_cookies(django_request(request)):
            raise PermissionDenied("Requests with bearer tokens need no CSRF token.")
        return Response({"csrf_token": csrf_token(self.session_id)}, headers=NO_STORE)
