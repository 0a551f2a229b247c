"""List and read accounts, for staff with permission to view them."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.accounts.filters import USERS
from apps.accounts.permissions import HasModelPermission
from apps.accounts.selectors.users import USERS_TAG, user_list, user_read
from apps.accounts.serializers import UserSerializer
from apps.accounts.services.tokens import TokenRefused
from apps.practices.caching import CachedResponse
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.validation.views import StrictView


class UserList(StrictView):
    query_parsers = {"GET": USERS.parse}
    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"
    # Not deep pages, which are rarely asked for twice: with "cursor", the view runs.
    cached = CachedResponse(
        audience="permitted", ttl=30, stale=30, tags=(USERS_TAG,), parameters=("limit", "fields", "ordering")
    )

    @extend_schema(
        operation_id="users_list",
        summary="List accounts",
        description="For staff with permission to view users. The first page is cached; changes are visible at once.",
        parameters=USERS.parameters(),
        responses={200: page_of(UserSerializer), **problems(401, 403, TokenRefused)},
    )
    def get(self, request: Request) -> JSONResponse:
        return JSONResponse(USERS.read(self.query, user_list).body())


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
