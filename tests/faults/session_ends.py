"""Every way in which a user or an administrator can end a session, and a user whose session it ends."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.clients import PASSWORD, Pages, bearer, registered, signed_in
from tests.fleet import ask
from tools.fleet import Fleet


@dataclass(kw_only=True)
class Victim:
    """A user with two sessions: the one that ends, and another one, which requests some of the ends."""

    here: str
    credentials: dict[str, str]
    id: str
    permission: str
    ending: dict[str, Any]
    other: dict[str, Any]
    pages: Pages
    link: str = field(default_factory=lambda: secrets.token_urlsafe(32))


End = Callable[[Victim, Pages], bool]


def api(method: str, path: str, *, by: str = "other", body: Any = None) -> End:
    """Return an end that the user requests over the API; `{…}` in the request is replaced with the victim's values."""

    def end(victim: Victim, _: Pages) -> bool:
        named = {"session": victim.ending["session"], "link": victim.link}
        sent = {name: value.format(**named) for name, value in (body or {}).items()}
        headers = bearer(getattr(victim, by)) if by else {}
        answer = ask(victim.here, f"/api/v1/{path.format(**named)}", method=method, body=sent, headers=headers)
        return answer.status in (200, 204)

    return end


def action(page: str, name: str, of: Callable[[Victim], str]) -> End:
    """Return an end that an administrator causes with an action on a list."""
    return lambda victim, admin: (
        admin.post(f"/admin/accounts/{page}/", {"action": name, "_selected_action": of(victim)}) == 302
    )


def change(**fields: str) -> End:
    """Return an end that a user's form causes, sent with these boxes ticked and no others."""

    def end(victim: Victim, admin: Pages) -> bool:
        form = {"email": victim.credentials["email"], "name": "", "user_permissions": victim.permission, **fields}
        return admin.post(f"/admin/accounts/user/{victim.id}/change/", form) == 302

    return end


def password_by_administrator(victim: Victim, admin: Pages) -> bool:
    form = {"password1": PASSWORD[::-1], "password2": PASSWORD[::-1], "usable_password": "true"}
    return admin.post(f"/admin/accounts/user/{victim.id}/password/", form) == 302


ENDS: dict[str, End] = {
    "logout": api("POST", "auth/logout", by="ending"),
    "end one": api("DELETE", "auth/sessions/{session}"),
    "end all others": api("DELETE", "auth/sessions"),
    "password change": api(
        "POST", "auth/password/change", body={"current_password": PASSWORD, "new_password": PASSWORD[::-1]}
    ),
    "password reset": api(
        "POST", "auth/password/reset/confirm", by="", body={"token": "{link}", "new_password": PASSWORD[::-1]}
    ),
    "deletion": api("DELETE", "me", body={"password": PASSWORD}),
    "administrator ends all of a user": action("user", "end_sessions", lambda victim: victim.id),
    "administrator ends one": action("session", "end_selected", lambda victim: victim.ending["session"]),
    "administrator sets a password": password_by_administrator,
    "deactivation": change(is_staff="on"),
    "demotion from staff": change(is_active="on"),
}
# A demotion does not end the API session, only access to the admin and the rights of staff.
KEPT = {"demotion from staff"}


def victim_of(fleet: Fleet, database: psycopg.Connection[Any]) -> Victim:
    """Create a member of staff who may list users, signed in twice over the API and once to the admin."""
    here = fleet.webs[0].url
    credentials = registered(here)
    row = database.execute(
        "UPDATE accounts_user SET is_staff = true WHERE email = %s RETURNING id::text", [credentials["email"]]
    ).fetchone()
    assert row is not None
    permission = database.execute(
        "INSERT INTO accounts_user_user_permissions (user_id, permission_id)"
        " SELECT %s, id FROM auth_permission WHERE codename = 'view_user' RETURNING permission_id::text",
        [row[0]],
    ).fetchone()
    assert permission is not None
    ending, other = (signed_in(here, credentials) for _ in range(2))
    victim = Victim(
        here=here,
        credentials=credentials,
        id=row[0],
        permission=permission[0],
        ending=ending,
        other=other,
        pages=Pages.signed_in(here, credentials),
    )
    database.execute(
        "INSERT INTO accounts_accountlink (digest, user_id, purpose, email, created_at, expires_at)"
        " VALUES (%s, %s, 'reset-password', %s, now(), now() + interval '1 hour')",
        [hashlib.sha256(victim.link.encode()).digest(), victim.id, credentials["email"]],
    )
    return victim
