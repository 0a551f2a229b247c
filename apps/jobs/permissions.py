"""Who may submit which kind of job."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.jobs.kinds import kind_named


class MaySubmit(BasePermission):
    """Lets through who may have jobs of the view's ``kind`` done: a body is not read for anybody else.

    Stands behind ``IsAuthenticated``. The submission asks again.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        kind = kind_named(view.kind)
        return kind is not None and kind.permits(request.user)
