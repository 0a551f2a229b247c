"""Personal data of accounts: nothing that could sign anyone in, such as hashes or the ids of tokens and keys."""

from django.contrib.admin.models import LogEntry

from apps.accounts.models import AccountLink, SecurityEvent, Session, User
from apps.practices.privacy.personal import PersonalData

PersonalData(
    name="account",
    model=User,
    user="pk",
    fields=(
        "id",
        "email",
        "name",
        "is_active",
        "is_staff",
        "is_superuser",
        "email_verified",
        "created_at",
        "updated_at",
    ),
)
PersonalData(name="groups", model=User.groups.through, user="user", fields=("group__name",))
PersonalData(
    name="permissions",
    model=User.user_permissions.through,
    user="user",
    fields=("permission__content_type__app_label", "permission__codename"),
)
PersonalData(
    name="sessions",
    model=Session,
    user="user",
    fields=(
        "id",
        "transport",
        "device",
        "address",
        "created_at",
        "rotated_at",
        "last_used_at",
        "expires_at",
        "ended_at",
        "ended_reason",
    ),
)
PersonalData(
    name="security-events",
    model=SecurityEvent,
    user="user",
    fields=("id", "kind", "created_at", "session_id", "address", "device", "request_id", "detail"),
)
PersonalData(name="links", model=AccountLink, user="user", fields=("purpose", "email", "created_at", "expires_at"))
PersonalData(
    name="admin-log",
    model=LogEntry,
    user="user",
    withheld="Entries in the admin log name other people's rows, often by their addresses.",
)
