"""CSRF protection in cookie mode."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client, override_settings

from apps.accounts.models import Session, Transport, User
from apps.accounts.transports import csrf_token, origin_of_url
from tests.access import operations
from tests.apps.accounts.cookies import APP, HERE, ME, NOTES, Browser, csrf, held, login, post, session_of
from tests.apps.accounts.factories import PASSWORD, sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db


# --- The CSRF token.


def wrong_tokens(client: Browser) -> Iterator[dict[str, str]]:
    right = csrf(client)["x-csrftoken"]
    yield {}
    yield {"x-csrftoken": ""}
    yield {"x-csrftoken": right[:-1]}
    yield {"x-csrftoken": f"{right} "[:-1].upper()}
    yield {"x-csrftoken": "é" * 64}
    yield {"x-csrftoken": "0" * 100_000}
    yield {"x-csrftoken": csrf_token(sign_in(user_create(), transport=Transport.COOKIE).session_id)}
    yield {"x-csrftoken": held(client)["access"]}
    yield {"csrftoken": right}
    session = session_of(client)
    yield {"x-csrftoken": hashlib.sha256(session.pk.bytes).hexdigest()}
    yield {"x-csrftoken": hmac.new(b"guess", session.pk.bytes, hashlib.sha256).hexdigest()}


def test_write_without_the_sessions_token_is_refused(signed_in: Browser, user: User) -> None:
    for headers in wrong_tokens(signed_in):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = signed_in.generic(
                method, ME, data='{"name": "Mallory"}', content_type="application/json", headers=headers
            )
            assert_problem(answer, 403, "csrf-token")
            assert not answer.cookies
        assert_problem(post(signed_in, "logout", **headers), 403, "csrf-token")
    user.refresh_from_db()
    assert user.name == "Ada"
    assert session_of(signed_in).ended_at is None


def test_every_unsafe_operation_needs_the_token(signed_in: Browser) -> None:
    """On every route, a cookie alone is only enough where a password or a refresh token is sent."""
    asked = 0
    for (method, path), operation in operations().items():
        if method == "GET" or not operation.get("security"):
            continue
        where = re.sub(r"{\w+}", "01890000-0000-7000-8000-000000000000", path)
        assert_problem(signed_in.generic(method, where), 403, "csrf-token")
        asked += 1
    assert asked > 10


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_form_posts_change_nothing(signed_in: Browser, user: User, content_type: str) -> None:
    """A form on another site can send these three types without a preflight, but cannot set headers."""
    body = '{"name": "Mallory", "x": "="}'
    for method, path in [("PATCH", ME), ("POST", "/api/v1/auth/logout"), ("POST", NOTES)]:
        answer = signed_in.generic(method, path, data=body, content_type=content_type)
        assert_problem(answer, 403, "csrf-token")
    signing_in = json.dumps({"email": user.email, "password": PASSWORD, "transport": "cookie"})
    answer = signed_in.generic(
        "POST", "/api/v1/auth/login", data=signing_in, content_type=content_type, headers={"origin": HERE}
    )
    assert_problem(answer, 415)
    user.refresh_from_db()
    assert user.name == "Ada"


def test_method_overrides_change_nothing(signed_in: Browser) -> None:
    for headers in ({"x-http-method-override": "DELETE"}, {"x-method-override": "DELETE"}, {"x-http-method": "DELETE"}):
        assert signed_in.get("/api/v1/auth/sessions", headers=headers).status_code == 200
    assert_problem(signed_in.get("/api/v1/auth/sessions?_method=DELETE"), 400, "validation", pointer="?_method")
    assert session_of(signed_in).ended_at is None


def test_token_survives_a_new_secret_key(signed_in: Browser) -> None:
    old = settings.SECRET_KEY
    with override_settings(SECRET_KEY="n" * 60, SECRET_KEY_FALLBACKS=[old]):
        answer = signed_in.patch(ME, {"name": "B"}, content_type="application/json", headers=csrf(signed_in))
        assert answer.status_code == 200
        assert signed_in.get("/api/v1/auth/csrf").json()["csrf_token"] != csrf(signed_in)["x-csrftoken"]
    with override_settings(SECRET_KEY="n" * 60, SECRET_KEY_FALLBACKS=[]):
        answer = signed_in.patch(ME, {"name": "C"}, content_type="application/json", headers=csrf(signed_in))
        assert_problem(answer, 403, "csrf-token")


# --- The origin, where there is no session yet.


ORIGINS = [
    None,
    "null",
    "",
    "*",
    "https://evil.example",
    "https://testserver",
    "http://testserver:80",
    "http://testserver:8000",
    "http://testserver/",
    "http://testserver/path",
    "HTTP://TESTSERVER",
    "http://TestServer",
    " http://testserver.evil.example",
    "http://user@testserver",
    "http://testserver, http://evil.example",
    "http://testserver http://evil.example",
    "testserver",
    f"{APP}:443",
    f"{APP}.evil.example",
    "http://app.example.com",
    "https://sub.app.example.com",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_cookie_login_and_refresh_need_a_listed_origin(
    client: Client, user: User, origin: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.accounts import hashers

    with override_settings(CORS_ALLOWED_ORIGINS=[APP], CORS_ALLOW_CREDENTIALS=True):
        assert login(client, user).status_code == 200
        before = held(client)
        computed: list[int] = []
        slot = hashers.hashing_slot
        monkeypatch.setattr(hashers, "hashing_slot", lambda: computed.append(1) or slot())
        for answer in (login(Client(), user, origin=origin), post(client, "refresh", origin=origin)):
            assert_problem(answer, 403, "csrf-origin")
            assert not answer.cookies
        assert computed == []
    assert held(client) == before
    assert Session.objects.get().previous_id is None


@pytest.mark.parametrize("origin", [HERE, APP])
def test_listed_origin_can_read_the_response(client: Client, user: User, origin: str) -> None:
    with override_settings(CORS_ALLOWED_ORIGINS=[APP], CORS_ALLOW_CREDENTIALS=True):
        answers = [login(client, user, origin=origin), post(client, "refresh", origin=origin)]
    for answer in answers:
        assert answer.status_code == 200
        assert "origin" in answer.headers["Vary"].lower()
        if origin == APP:
            assert answer.headers["Access-Control-Allow-Origin"] == APP
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://API.example.com:443/base", "https://api.example.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_own_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert origin_of_url(url) == origin
