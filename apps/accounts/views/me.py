"""One's own account over HTTP."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import User
from apps.accounts.selectors.users import user_read
from apps.accounts.serializers import MeSerializer, UserSerializer
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.services.users import user_update
from apps.practices.errors.schema import problems
from apps.practices.validation.query import query_parameters


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


def _user_id(request: Request) -> UUID:
    return cast("User", request.user).pk
