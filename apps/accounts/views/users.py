"""List and read accounts, for staff with permission to view them."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.accounts.filters import USERS
from apps.accounts.permissions import HasModelPermission
from apps.accounts.selectors.users import USERS_TAG, user_list, user_read
from apps.accounts.serializers import UserSerializer
from apps.accounts.services.tokens import TokenRefused
from apps.practices.caching import remember
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.validation.views import StrictView


class UserList(StrictView):
    query_parsers = {"GET": USERS.parse}
    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"

    @extend_schema(
        operation_id="users_list",
        summary="List accounts",
        description="For staff with permission to view users. Cached for up to 60 seconds; changes are visible at once.",
        parameters=USERS.parameters(),
        responses={200: page_of(UserSerializer), **problems(401, 403, TokenRefused)},
    )
    def get(self, request: Request) -> JSONResponse:
        def read() -> dict[str, Any]:
            return USERS.read(self.query, user_list()).body()

        return JSONResponse(remember(f"users:{self.query.key}", ttl=60, tags=(USERS_TAG,), build=read))


class UserDetail(StrictView):
    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"

    @extend_schema(
        operation_id="users_read",
        summary="Read an account",
        description="For staff with permission to view users.",
        responses={200: UserSerializer, **problems(401, 403, 404, TokenRefused)},
    )
    def get(self, request: Request, id: UUID) -> JSONResponse:
        return JSONResponse(user_read(user_id=id))
