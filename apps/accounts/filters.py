"""The list of users: its orderings and its projection."""

from __future__ import annotations

from apps.accounts.models import User
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
