"""Reads of users, projected to what the API shows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from apps.accounts.models import User
from apps.practices.errors import NotFound

# Read by every list of users that is cached; changed by every service that writes one.
USERS_TAG = "users"
# Read by every public answer that shows a user's name, or rows that go with an account or lose it; changed when a name changes
# and when an account goes. No app below those that show users could name their answers.
PEOPLE_TAG = "people"
USER_FIELDS = ("id", "email", "name", "is_active", "is_staff", "email_verified", "created_at", "updated_at")


def user_list() -> QuerySet[User]:
    """All users."""
    return User.objects.all()


def is_last_administrator(user_ids: Collection[UUID]) -> bool:
    """Say whether active superusers are among these, and none is left without them."""
    administrators = User.objects.filter(is_superuser=True, is_active=True)
    return administrators.filter(pk__in=user_ids).exists() and not administrators.exclude(pk__in=user_ids).exists()


def user_read(*, user_id: UUID) -> dict[str, Any]:
    """Give one user as the API shows it; raises NotFound."""
    found = User.objects.filter(pk=user_id).values(*USER_FIELDS).first()
    if found is None:
        raise NotFound()
    return found
