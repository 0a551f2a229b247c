"""Read users, as the API shows them."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from apps.accounts.models import User
from apps.practices.database.prepared import prepared
from apps.practices.errors import NotFound

# On every cached list of users; changed by every service that writes a user.
USERS_TAG = "users"
# On every cached public response that shows a user's name, or rows that a deletion removes or detaches; changed when a name
# changes or an account is deleted, because accounts cannot know the tags of the apps above it.
PEOPLE_TAG = "people"
USER_FIELDS = ("id", "email", "name", "is_active", "is_staff", "email_verified", "created_at", "updated_at")


def user_list() -> QuerySet[User]:
    """Return all users."""
    return User.objects.all()


def is_last_administrator(user_ids: Collection[UUID]) -> bool:
    """Return whether these include active superusers and no other one would remain."""
    administrators = User.objects.filter(is_superuser=True, is_active=True)
    return administrators.filter(pk__in=user_ids).exists() and not administrators.exclude(pk__in=user_ids).exists()


def user_read(*, user_id: UUID) -> dict[str, Any]:
    """Return a user as the API shows it; raise NotFound."""
    found = _user_row.first(user_id=user_id)
    if found is None:
        raise NotFound()
    return found


@prepared
def _user_row(*, user_id: UUID) -> QuerySet[User, Any]:
    return User.objects.filter(pk=user_id).values(*USER_FIELDS)
