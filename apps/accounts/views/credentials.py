"""Signing in and out: what takes a password or a refresh token."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import BearerAuthentication, LeavingAuthentication
from apps.accounts.models import EndReason, Transport
from apps.accounts.schema import COOKIE, SET_COOKIE
from apps.accounts.serializers import (
    CookiePairSerializer,
    CSRFTokenSerializer,
    LoginSerializer,
    RefreshSerializer,
    RegisterSerializer,
    TokenPairSerializer,
    UserSerializer,
)
from apps.accounts.services.attempts import AttemptPurpose, TooManyAttempts, attempt_begin
from apps.accounts.services.credentials import CredentialsRefused, user_authenticate
from apps.accounts.services.sessions import (
    SignInOvertaken,
    TokenPair,
    TokenReused,
    session_end,
    session_refresh,
    session_start,
)
from apps.accounts.services.tokens import SessionToken, TokenRefused
from apps.accounts.services.users import EmailTaken, user_register
from apps.accounts.services.verification import EmailUnverified
from apps.accounts.transports import (
    CookieRepeated,
    CsrfOriginRefused,
    CsrfTokenRefused,
    TwoTransports,
    cookies_forget,
    cookies_set,
    csrf_token,
    device_presented,
    device_set,
    forgetting,
    has_cookies,
    origin_require,
    refresh_presented,
    replaced_session_id,
)
from apps.accounts.views.base import NO_STORE, AccountView, CredentialView
from apps.practices.errors import NotAuthenticated, PermissionDenied
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.requests import django_request
from apps.practices.throttling.throttles import LoginThrottle


class Register(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_register",
        summary="Create an account",
        description=(
            "A link that proves the address is mailed to it. Where the service asks for that before the first sign-in "
            "(REQUIRE_VERIFIED_EMAIL) the answer is always 202, and a mail tells the owner of an address that is taken; "
            "everywhere else it is 201 or 409."
        ),
        auth=[],
        request=RegisterSerializer,
        responses={
            201: OpenApiResponse(UserSerializer, description="Created; sign in."),
            202: OpenApiResponse(description="Accepted: a mail says how to go on."),
            **problems(413, 415, EmailTaken, TooManyAttempts),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(RegisterSerializer)
        attempt_begin(purpose=AttemptPurpose.MAIL, email=body["email"])
        user = user_register(**body, origin=self.origin, now=self.now)
        if user is None:
            return Response(status=status.HTTP_202_ACCEPTED, headers=NO_STORE)
        headers = {**NO_STORE, "Location": reverse("me")}
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED, headers=headers)


SIGNED_IN = PolymorphicProxySerializer(
    component_name="SignedIn",
    serializers=[TokenPairSerializer, CookiePairSerializer],
    resource_type_field_name=None,
)


class Login(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_login",
        summary="Sign in",
        description="In cookie mode the page's Origin has to be listed; a sign-in whose cookies are replaced is ended.",
        auth=[],
        request=LoginSerializer,
        parameters=[SET_COOKIE],
        responses={
            200: SIGNED_IN,
            **problems(
                413, 415, CredentialsRefused, SignInOvertaken, EmailUnverified, TooManyAttempts, CsrfOriginRefused
            ),
        },
    )
    def post(self, request: Request) -> Response:
        body = self.body(LoginSerializer)
        transport = Transport(body.pop("transport"))
        if transport == Transport.COOKIE:
            origin_require(django_request(request))
        device = device_presented(django_request(request))
        user = user_authenticate(**body, origin=self.origin, now=self.now, device=device)
        pair = session_start(user=user, now=self.now, origin=self.origin, transport=transport)
        if transport == Transport.COOKIE and (replaced := replaced_session_id(django_request(request))):
            # OWASP ASVS 5.0, 7.2.4: signing in again does not leave the former sign-in behind.
            session_end(session_id=replaced, reason=EndReason.LOGOUT, now=self.now, origin=self.origin)
        response = signed_in(pair, now=self.now)
        if transport == Transport.COOKIE:
            device_set(response, email=user.email, now=self.now)
        return response


class Refresh(CredentialView):
    """Counted by address as anonymous traffic, not as a sign-in: everybody in an office refreshes all day long."""

    @extend_schema(
        operation_id="auth_refresh",
        summary="Change a refresh token for new tokens",
        description="The token is in the body, or in cookie mode in the refresh cookie, with an empty body and a listed Origin.",
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
                forgetting(refused)
            raise
        return signed_in(pair, now=self.now)


class Logout(AccountView):
    authentication_classes = (BearerAuthentication, LeavingAuthentication)

    @extend_schema(
        operation_id="auth_logout",
        summary="Sign out here",
        description="Ends this sign-in: its access and refresh tokens stop working at once, and its cookies are taken back.",
        request=None,
        parameters=[SET_COOKIE],
        responses={204: OpenApiResponse(description="Signed out."), **problems(401, TokenRefused, CsrfTokenRefused)},
    )
    def post(self, request: Request) -> Response:
        token = cast("SessionToken", request.auth)
        session_end(session_id=token.session_id, reason=EndReason.LOGOUT, now=self.now, origin=self.origin)
        response = Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)
        if has_cookies(django_request(request)):
            cookies_forget(response)
        return response


class CSRF(AccountView):
    @extend_schema(
        operation_id="auth_csrf",
        summary="Read the CSRF token",
        description="For a page in cookie mode that was reloaded. Needs the access cookie: refresh first if it is gone.",
        auth=[{COOKIE: []}],  # type: ignore[list-item]  # annotated as names, written into the document as it is
        responses={200: CSRFTokenSerializer, **problems(401, 403, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        if not has_cookies(django_request(request)):
            raise PermissionDenied("A sign-in with bearer tokens needs no CSRF token.")
        token = cast("SessionToken", request.auth)
        return Response({"csrf_token": csrf_token(token.session_id)}, headers=NO_STORE)


def signed_in(pair: TokenPair, *, now: datetime) -> Response:
    """Answer the tokens of a sign-in the way they travel."""
    rest = {"token_type": "Bearer", "expires_in": pair.expires_in, "session": pair.session_id}
    if pair.transport == Transport.BEARER:
        return Response({"access": pair.access, "refresh": pair.refresh, **rest}, headers=NO_STORE)
    response = Response({"csrf_token": csrf_token(pair.session_id), **rest}, headers=NO_STORE)
    cookies_set(response, pair, now=now)
    return response
