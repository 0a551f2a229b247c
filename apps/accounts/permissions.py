"""View permissions: Django's model permissions, granted to users or groups."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class HasModelPermission(BasePermission):
    """Allows staff who have the view's `permission_required`, such as `"accounts.view_user"`.

    `is_staff` alone only opens the admin, and the permission alone, without `is_staff`, allows nothing.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        return bool(user and user.is_authenticated and user.is_staff and user.has_perm(view.permission_required))  # type: ignore[attr-defined]  # an attribute that these views define
