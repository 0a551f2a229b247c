"""Permissions of views: Django's model permissions, by user or group."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class HasModelPermission(BasePermission):
    """Lets staff in who hold the permission that the view names as `permission_required` (`"accounts.view_user"`).

    `is_staff` alone opens the admin's door and nothing else; the permission alone, without it, opens none.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        return bool(user and user.is_authenticated and user.is_staff and user.has_perm(view.permission_required))  # type: ignore[attr-defined]  # the attribute this class asks its views for
