"""Where Django reads permissions (AUTHENTICATION_BACKENDS)."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import Model


class PermissionBackend(ModelBackend):
    """Django's permissions of users and groups, read once for each check of a session instead of once for each request.

    Changed permissions take effect when the session is checked again, within TOKENS_CHECK_SECONDS.
    """

    def get_all_permissions(self, user_obj: Any, obj: Model | None = None) -> set[str]:
        """Return names such as "accounts.view_user"; if a session authorised the user, those read since it was checked."""
        check = getattr(user_obj, "session_check", None)
        if check is None or obj is not None:
            return super().get_all_permissions(user_obj, obj)
        if check.permissions is None:
            check.permissions = super().get_all_permissions(user_obj)
        return check.permissions
