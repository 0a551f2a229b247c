"""Signing in and out: what takes a password or a refresh token."""

from __future__ import annotations

from typing import cast

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.authentication import origin_of
from apps.accounts.models import FamilyEnd
from apps.accounts.serializers import (
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
from apps.accounts.services.tokens import AccessToken, TokenRefused
from apps.accounts.services.users import EmailTaken, user_register
from apps.practices.errors.schema import problems
from apps.practices.throttling.throttles import LoginThrottle
from apps.practices.validation.query import query_parameters

# RFC 6749, 5.1: an answer that holds a token is kept nowhere.
NO_STORE = {"Cache-Control": "no-store"}


class CredentialView(APIView):
    """Takes a password or a refresh token; a stale Authorization header does not get in its way."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class Register(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_register",
        summary="Create an account",
        auth=[],
        request=RegisterSerializer,
        responses={201: UserSerializer, **problems(413, 415, EmailTaken, TooManyAttempts)},
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        body = RegisterSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        attempt_begin(purpose=AttemptPurpose.MAIL, email=body.validated_data["email"])
        user = user_register(**body.validated_data)
        headers = {**NO_STORE, "Location": reverse("me")}
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED, headers=headers)


class Login(CredentialView):
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        operation_id="auth_login",
        summary="Sign in",
        auth=[],
        request=LoginSerializer,
        responses={
            200: TokenPairSerializer,
            **problems(413, 415, CredentialsRefused, SignInOvertaken, TooManyAttempts),
        },
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        origin, now = origin_of(request._request), timezone.now()
        user = user_authenticate(**body.validated_data, origin=origin, now=now)
        return _tokens(session_start(user=user, now=now, origin=origin))


class Refresh(CredentialView):
    """Counted by address as anonymous traffic, not as a sign-in: everybody in an office refreshes all day long."""

    @extend_schema(
        operation_id="auth_refresh",
        summary="Change a refresh token for new tokens",
        auth=[],
        request=RefreshSerializer,
        responses={200: TokenPairSerializer, **problems(413, 415, TokenRefused, TokenReused)},
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        token = body.validated_data["refresh"]
        return _tokens(session_refresh(token=token, now=timezone.now(), origin=origin_of(request._request)))


class Logout(APIView):
    @extend_schema(
        operation_id="auth_logout",
        summary="Sign out here",
        description="Ends this sign-in: its access and refresh tokens stop working at once.",
        request=None,
        responses={204: OpenApiResponse(description="Signed out."), **problems(401, TokenRefused)},
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        token = cast("AccessToken", request.auth)
        session_end(
            family_id=token.family_id, reason=FamilyEnd.LOGOUT, now=timezone.now(), origin=origin_of(request._request)
        )
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)


def _tokens(pair: TokenPair) -> Response:
    body = {
        "access": pair.access,
        "refresh": pair.refresh,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "session": pair.family_id,
    }
    return Response(body, headers=NO_STORE)
