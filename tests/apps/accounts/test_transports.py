"""Cookie mode: the cookies, and one transport per request."""

from __future__ import annotations

import json
from http.cookies import Morsel
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, RequestFactory, override_settings
from django.urls import resolve, reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.authentication import CookieAuthentication
from apps.accounts.models import Session, Transport, User
from apps.accounts.transports import csrf_token
from tests.apps.accounts.cookies import ME, NOTES, Browser, csrf, held, login, post, session_of, taken_back
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in
from tests.problems import assert_problem
from tests.sample.services import note_create

pytestmark = pytest.mark.django_db


# --- The cookies.


def test_cookie_login_returns_no_tokens(client: Client, user: User) -> None:
    response = login(client, user)
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"csrf_token", "token_type", "expires_in", "session"}
    assert body["csrf_token"] not in (held(client)["access"], held(client)["refresh"])
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.cookies) == {"access", "refresh", "binding", "device"}
    access, refresh, binding = (response.cookies[name] for name in ("access", "refresh", "binding"))
    assert attributes(access) == {"path": "/", "max-age": 900, "httponly": True, "samesite": "Lax", "secure": ""}
    assert attributes(refresh) == {
        "path": "/api/v1/auth/",
        "max-age": settings.TOKENS_REFRESH_SECONDS,
        "httponly": True,
        "samesite": "Lax",
        "secure": "",
    }
    assert attributes(binding) == {**attributes(refresh), "path": "/"}
    assert session_of(client).transport == Transport.COOKIE


def attributes(morsel: Morsel[str]) -> dict[str, Any]:
    return {name: morsel[name] for name in ("path", "max-age", "httponly", "samesite", "secure")}


def test_cookies_expire_with_the_session(client: Client, user: User) -> None:
    with override_settings(TOKENS_SESSION_SECONDS=300):
        response = login(client, user)
    assert response.cookies["access"]["max-age"] <= 300
    assert response.cookies["refresh"]["max-age"] <= 300


def test_bearer_is_the_default_and_sets_no_cookies(client: Client, user: User) -> None:
    for chosen in ({}, {"transport": "bearer"}):
        response = post(client, "login", {"email": user.email, "password": PASSWORD, **chosen}, origin=None)
        assert {"access", "refresh"} < set(response.json())
        assert not response.cookies


@pytest.mark.parametrize("transport", ["admin", "Cookie", "", None, ["cookie"], {"a": 1}, 1])
def test_unknown_transport_is_refused(client: Client, user: User, transport: Any) -> None:
    body = {"email": user.email, "password": PASSWORD, "transport": transport}
    assert_problem(post(client, "login", body), 400, "validation", pointer="/transport")
    assert not Session.objects.exists()


def test_refresh_cookie_path_covers_its_routes(client: Client) -> None:
    for name in ("auth-refresh", "auth-logout", "auth-login"):
        assert reverse(name).startswith(settings.TOKENS_REFRESH_PATH)
    assert resolve(f"{settings.TOKENS_REFRESH_PATH}refresh").url_name == "auth-refresh"


def test_browser_reads_writes_refreshes_and_signs_out(signed_in: Browser, user: User) -> None:
    assert signed_in.get(ME).json()["name"] == "Ada"
    changed = signed_in.patch(ME, {"name": "Lovelace"}, content_type="application/json", headers=csrf(signed_in))
    assert changed.status_code == 200, changed.content
    before = held(signed_in)
    answer = post(signed_in, "refresh")
    assert answer.status_code == 200, answer.content
    assert answer.json()["csrf_token"] == signed_in.csrf
    assert not {"access", "refresh"} & set(answer.json())
    after = held(signed_in)
    assert after["refresh"] != before["refresh"]
    assert after["access"] != before["access"]
    reloaded = signed_in.get("/api/v1/auth/csrf")
    assert reloaded.json() == {"csrf_token": signed_in.csrf}
    assert reloaded.headers["Cache-Control"] == "no-store"
    assert signed_in.get(ME).json()["name"] == "Lovelace"
    left = post(signed_in, "logout", **csrf(signed_in))
    assert left.status_code == 204
    assert taken_back(left) == {"access", "refresh", "binding"}
    assert held(signed_in) == {}
    assert_problem(Client().get(ME), 401, "not-authenticated")


def test_empty_object_refreshes_like_an_empty_body(signed_in: Browser) -> None:
    assert post(signed_in, "refresh", {}).status_code == 200


def test_responses_vary_by_cookie(signed_in: Browser) -> None:
    for path in (ME, "/api/v1/auth/sessions", "/api/v1/jobs"):
        response = signed_in.get(path)
        assert response.status_code == 200
        assert "cookie" in response.headers["Vary"].lower()
        assert "private" in response.headers["Cache-Control"]


# --- One transport per request and token.


def test_two_transports_are_refused(signed_in: Browser, user: User) -> None:
    other = sign_in(user)
    header = {"authorization": f"Bearer {other.access}"}
    for method, path in [("GET", ME), ("PATCH", ME), ("GET", "/api/v1/auth/csrf"), ("GET", NOTES)]:
        for headers in (header, {"authorization": "bearer  nonsense"}):
            assert_problem(
                signed_in.generic(method, path, headers={**headers, **csrf(signed_in)}), 400, "two-transports"
            )
    assert_problem(post(signed_in, "logout", **header, **csrf(signed_in)), 400, "two-transports")
    assert_problem(post(signed_in, "refresh", {"refresh": other.refresh}), 400, "two-transports")
    assert_problem(post(signed_in, "refresh", **header), 400, "two-transports")
    signed_in.cookies.pop("access")
    assert_problem(post(signed_in, "refresh", {"refresh": other.refresh}), 400, "two-transports")
    assert_problem(post(signed_in, "logout", **header), 400, "two-transports")
    assert Session.objects.filter(ended_at=None, previous_id=None).count() == 2


def test_cookie_only_view_refuses_two_transports(user: User) -> None:
    class Bare(APIView):
        authentication_classes = (CookieAuthentication,)

        def get(self, request: Request) -> Response:
            return Response({"email": request.user.email})

    pair = sign_in(user, transport=Transport.COOKIE)
    view, own = Bare.as_view(), {"cookie": f"access={pair.access}"}
    assert view(RequestFactory().get("/", headers=own)).status_code == 200
    both = {**own, "authorization": f"Bearer {pair.access}"}
    assert json.loads(view(RequestFactory().get("/", headers=both)).content)["type"].endswith("/two-transports")


def test_cookie_token_is_refused_as_bearer(client: Client, signed_in: Browser) -> None:
    stolen = held(signed_in)
    stranger = Client()
    answer = stranger.get(ME, headers={"authorization": f"Bearer {stolen['access']}"})
    assert_problem(answer, 401, "token-refused")
    assert_problem(post(stranger, "refresh", {"refresh": stolen["refresh"]}), 401, "token-refused")
    assert_problem(post(stranger, "logout", authorization=f"Bearer {stolen['access']}"), 401, "token-refused")
    assert signed_in.get(ME).status_code == 200


def test_bearer_token_is_refused_as_cookie(client: Client, user: User) -> None:
    pair = sign_in(user)
    for name, value in (("access", pair.access), ("refresh", pair.refresh)):
        client.cookies[name] = value
    known = {"x-csrftoken": csrf_token(pair.session_id)}
    assert_problem(client.get(ME), 401, "token-refused")
    client.cookies["access"], client.cookies["refresh"] = pair.access, pair.refresh
    assert_problem(post(client, "refresh", **known), 401, "token-refused")
    client.cookies["access"], client.cookies["refresh"] = pair.access, pair.refresh
    assert_problem(post(client, "logout", **known), 401, "token-refused")
    assert Session.objects.get().ended_at is None


def test_refresh_token_gives_no_access(signed_in: Browser) -> None:
    """Sent alone, or in place of the access token."""
    refresh = held(signed_in)["refresh"]
    alone = Client()
    alone.cookies["refresh"] = refresh
    assert_problem(alone.get(ME), 401, "not-authenticated")
    assert_problem(alone.get("/api/v1/auth/csrf"), 401, "not-authenticated")
    disguised = Client()
    disguised.cookies["access"] = refresh
    assert_problem(disguised.get(ME), 401, "token-refused")
    disguised = Client()
    disguised.cookies["refresh"], disguised.cookies["binding"] = held(signed_in)["access"], held(signed_in)["binding"]
    assert_problem(post(disguised, "refresh"), 401, "token-refused")


def test_refresh_without_token_says_where_to_send_it(client: Client) -> None:
    for body in (None, {}):
        answer = post(client, "refresh", body)
        assert "refresh" in assert_problem(answer, 401, "not-authenticated")["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(post(client, "refresh", {"refresh": ""}), 400, "validation", pointer="/refresh")
    assert_problem(post(client, "refresh", {"refresh": None}), 400, "validation", pointer="/refresh")


@pytest.mark.parametrize("spaces", [1, 2, 9])
def test_bearer_token_after_several_spaces(client: Client, user: User, spaces: int) -> None:
    """1*SP: RFC 6750, 2.1, and RFC 9110, 11.4."""
    header = {"authorization": f"Bearer{' ' * spaces}{sign_in(user).access}"}
    assert client.get(ME, headers=header).status_code == 200


def test_bearer_session_has_no_csrf_token(client: Client, user: User) -> None:
    assert_problem(client.get("/api/v1/auth/csrf", **bearer(user)), 403, "permission-denied")


# --- Caches and limits.


@pytest.mark.parametrize("name", ["access", "__Host-access", "refresh", "__Secure-refresh"])
def test_cookie_requests_bypass_the_public_cache(name: str, user: User) -> None:
    """The author of a draft sees it, it is not cached for others, and the author does not get the public entry."""
    draft, note = note_create(owner=user, title="Draft", published=False), note_create(owner=user, title="Public")
    with override_settings(TOKENS_ACCESS_COOKIE="__Host-access" if name.startswith("__") else "access"):
        pair = sign_in(user, transport=Transport.COOKIE)
        own = {"cookie": f"{name}={pair.refresh if 'refresh' in name else pair.access}"}
        for status in (200, 200) if name.endswith("access") else (404, 404):
            assert Client().get(f"{NOTES}/{draft.pk}", headers=own).status_code == status
            assert Client().get(f"{NOTES}/{draft.pk}").status_code == 404
        mine = Client().get(f"{NOTES}/{note.pk}", headers=own)
        assert "private" in mine.headers["Cache-Control"]
        assert mine.headers["Cache-Status"] == "app; fwd=bypass"
        everybodys = [Client().get(f"{NOTES}/{note.pk}").headers["Cache-Status"].split(";")[1] for _ in range(2)]
        assert everybodys == [" fwd=uri-miss", " hit"]
        assert Client().get(f"{NOTES}/{note.pk}", headers=own).headers["Cache-Status"] == "app; fwd=bypass"


def test_cookies_are_limited_by_user_or_address(signed_in: Browser) -> None:
    counted = signed_in.get(ME).headers["RateLimit"]
    assert '"user"' in counted
    assert '"anon"' not in counted
    for bad in ("x", f"{held(signed_in)['access']}x"):
        assert '"anon"' in Client().get(ME, headers={"cookie": f"access={bad}"}).headers["RateLimit"]
