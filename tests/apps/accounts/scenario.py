"""What the walk over operations.txt acts on."""

from uuid import uuid4

from django.contrib.auth.models import Group

from apps.accounts.models import LinkPurpose, SecurityEvent, Session, User
from tests.apps.accounts.factories import PASSWORD, link, sign_in, user_create
from tests.secrets import NEW_PASSWORD


def _session(owner: User) -> Session:
    return Session.objects.get(pk=sign_in(owner).session_id)


def _event(owner: User) -> SecurityEvent:
    return SecurityEvent.objects.get(session_id=sign_in(owner).session_id)


def _delete(owner: User) -> dict[str, str]:
    """Return a body that deletes the account. Another superuser exists, so that a superuser can be deleted."""
    user_create(email=f"{uuid4()}@example.com", is_superuser=True)  # of a service that runs, too
    return {"password": PASSWORD}


OBJECTS = {
    "account": lambda owner: owner,
    "session": _session,
    "event": _event,
    "group": lambda owner: Group.objects.create(name=f"A group of {owner.pk}"),
}
BODIES = {
    "auth_register": {"email": "new@example.com", "password": PASSWORD, "name": "New"},
    "auth_login": lambda owner: {"email": owner.email, "password": PASSWORD},
    "auth_refresh": lambda owner: {"refresh": sign_in(owner).refresh},
    "auth_email_verify": lambda owner: {"token": link(owner, LinkPurpose.VERIFY_EMAIL)},
    "auth_email_verify_request": lambda owner: {"email": owner.email},
    "auth_password_change": {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    "auth_password_reset": lambda owner: {"email": owner.email},
    "auth_password_reset_confirm": lambda owner: {
        "token": link(owner, LinkPurpose.RESET_PASSWORD),
        "new_password": NEW_PASSWORD,
    },
    "me_update": {"name": "Another name"},
    "me_delete": _delete,
}
ADMIN_CLOSED = {"session": {"add", "delete"}, "securityevent": {"add", "change", "delete"}}
ADMIN_SUPERUSERS = {"group": {"add", "change", "delete"}}
