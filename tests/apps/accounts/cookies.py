"""A browser in cookie mode. Unlike a real one, Django's test client sends every cookie to every path."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from apps.accounts.models import Session, User
from apps.accounts.services.tokens import AccessToken
from tests.apps.accounts.factories import PASSWORD

HERE = "http://testserver"
APP = "https://app.example.com"
ME, NOTES = "/api/v1/me", "/api/v1/sample/notes"


class Browser(Client):
    """Keeps the CSRF token of its last sign-in."""

    csrf = ""


def post(client: Client, path: str, body: Any = None, *, origin: str | None = HERE, **headers: str) -> Any:
    sent = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    named = {"origin": origin, **headers} if origin else headers
    return client.generic("POST", f"/api/v1/auth/{path}", **sent, headers=named)


def login(client: Client, user: User, **more: Any) -> Any:
    return post(client, "login", {"email": user.email, "password": PASSWORD, "transport": "cookie"}, **more)


def held(client: Client) -> dict[str, str]:
    """Return the session cookies that the client would send."""
    return {name: morsel.value for name, morsel in client.cookies.items() if morsel.value and name != "device"}


def taken_back(response: Any) -> set[str]:
    """Return the names of the cookies that a response deletes."""
    return {name for name, morsel in response.cookies.items() if morsel["max-age"] == 0 and not morsel.value}


def session_of(client: Client) -> Session:
    return Session.objects.get(pk=AccessToken.read(held(client)["access"]).session_id)


def csrf(browser: Browser) -> dict[str, str]:
    """Return the CSRF header."""
    return {"x-csrftoken": browser.csrf}
