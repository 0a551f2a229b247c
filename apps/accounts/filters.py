"""The lists of users and sessions: their orderings and fields."""

from apps.accounts.models import Session, User
from apps.accounts.selectors.users import USER_FIELDS
from apps.practices.database.lists import KeysetList

USERS = KeysetList(
    model=User,
    orderings={
        "-created_at": ("-created_at", "-id"),
        "created_at": ("created_at", "id"),
        "email": ("email", "id"),
        "-email": ("-email", "-id"),
    },
    fields={name: name for name in USER_FIELDS},
    filters={},
)

SESSIONS = KeysetList(
    model=Session,
    orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
    fields={name: name for name in ("id", "device", "address", "created_at", "last_used_at", "current")},
    scope=("user",),
)
