"""The account and its sign-ins over HTTP."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.filters import USERS
from apps.accounts.models import FamilyEnd, User
from apps.accounts.permissions import HasModelPermission
from apps.accounts.selectors.users import USERS_TAG, user_list, user_read
from apps.accounts.serializers import (
    LoginSerializer,
    MeSerializer,
    RefreshSerializer,
    RegisterSerializer,
    TokenPairSerializer,
    UserSerializer,
)
from apps.accounts.services.sessions import TokenPair, TokenReused, session_end, session_refresh, session_start
from apps.accounts.services.tokens import AccessToken, TokenRefused
from apps.accounts.services.users import (
    CredentialsRefused,
    EmailTaken,
    user_authenticate,
    user_register,
    user_update,
)
from apps.practices.caching import remember
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.throttling.address import NOWHERE, client_address
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
        responses={201: UserSerializer, **problems(413, 415, EmailTaken)},
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        body = RegisterSerializer(data=request.data)
        body.is_valid(raise_exception=True)
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
        responses={200: TokenPairSerializer, **problems(413, 415, CredentialsRefused)},
    )
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = user_authenticate(**body.validated_data)
        return _tokens(session_start(user=user, now=timezone.now(), **_origin(request)))


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
        return _tokens(session_refresh(token=token, now=timezone.now(), **_origin(request)))


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
        session_end(family_id=token.family_id, reason=FamilyEnd.LOGOUT, now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT, headers=NO_STORE)


class Me(APIView):
    @extend_schema(
        operation_id="me_read",
        summary="Read your account",
        responses={200: UserSerializer, **problems(401, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        query_parameters(request, {})
        return Response(user_read(user_id=_user_id(request)))

    @extend_schema(
        operation_id="me_update",
        summary="Change your account",
        request=MeSerializer,
        responses={200: UserSerializer, **problems(401, 413, 415, TokenRefused)},
    )
    def patch(self, request: Request) -> Response:
        query_parameters(request, {})
        body = MeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(UserSerializer(user_update(user_id=_user_id(request), **body.validated_data)).data)


class UserList(APIView):
    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"

    @extend_schema(
        operation_id="users_list",
        summary="List accounts",
        description="For staff who may view users. Remembered for up to 60 seconds; a change to any account shows at once.",
        parameters=USERS.parameters(),
        responses={200: page_of(UserSerializer), **problems(401, 403, TokenRefused)},
    )
    def get(self, request: Request) -> Response:
        query = USERS.parse(request)

        def read() -> dict[str, Any]:
            return USERS.read(query, user_list()).body()

        return Response(remember(f"users:{query.key}", ttl=60, tags=(USERS_TAG,), build=read))


class UserDetail(APIView):
    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"

    @extend_schema(
        operation_id="users_read",
        summary="Read an account",
        description="For staff who may view users.",
        responses={200: UserSerializer, **problems(401, 403, 404, TokenRefused)},
    )
    def get(self, request: Request, id: UUID) -> Response:
        query_parameters(request, {})
        return Response(user_read(user_id=id))


def _user_id(request: Request) -> UUID:
    return cast("User", request.user).pk


def _origin(request: Request) -> dict[str, Any]:
    """Where a sign-in is made or used: the User-Agent, and the address behind our proxies."""
    plain: HttpRequest = request._request
    address = client_address(plain)
    return {"device": _device(plain), "address": None if address == NOWHERE else address}


def _device(request: HttpRequest) -> str:
    """The User-Agent without what PostgreSQL or a terminal could trip over."""
    return "".join(char for char in request.META.get("HTTP_USER_AGENT", "") if char.isprintable())


def _tokens(pair: TokenPair) -> Response:
    body = {
        "access": pair.access,
        "refresh": pair.refresh,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "session": pair.family_id,
    }
    return Response(body, headers=NO_STORE)
