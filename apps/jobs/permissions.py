"""Permission to submit a kind of job."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.jobs.kinds import kind_named


class MaySubmit(BasePermission):
    """Allows users who may submit jobs of the view's ``kind``; for all others the body is not even read.

    List it after ``IsAuthenticated``. The submission checks the permission again.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        kind = kind_named(view.kind)
        return kind is not None and kind.permits(request.user)
