"""Cookie mode: what the browser is given, what proves that a page of ours asks, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from http.cookies import Morsel
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, RequestFactory, override_settings
from django.urls import resolve, reverse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.authentication import CookieAuthentication
from apps.accounts.models import RefreshFamily, Transport, User
from apps.accounts.services.sessions import TokenPair, session_refresh
from apps.accounts.services.tokens import AccessToken, RefreshToken
from apps.accounts.transports import csrf_token, origin_of_url
from tests.access import operations
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in, user_create
from tests.problems import assert_problem
from tests.sample.services import note_create

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # what happens after a commit happens

HERE = "http://testserver"
APP = "https://app.example.com"
ME, NOTES = "/api/v1/me", "/api/v1/sample/notes"


def post(client: Client, path: str, body: Any = None, *, origin: str | None = HERE, **headers: str) -> Any:
    sent = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    named = {"origin": origin, **headers} if origin else headers
    return client.generic("POST", f"/api/v1/auth/{path}", **sent, headers=named)


def login(client: Client, user: User, **more: Any) -> Any:
    return post(client, "login", {"email": user.email, "password": PASSWORD, "transport": "cookie"}, **more)


def held(client: Client) -> dict[str, str]:
    """The cookies that the client would send."""
    return {name: morsel.value for name, morsel in client.cookies.items() if morsel.value}


def taken_back(response: Any) -> set[str]:
    """The names of the cookies that an answer deletes."""
    return {name for name, morsel in response.cookies.items() if morsel["max-age"] == 0 and not morsel.value}


def family_of(client: Client) -> RefreshFamily:
    return RefreshFamily.objects.get(pk=AccessToken.read(held(client)["access"]).family_id)


@pytest.fixture
def user() -> User:
    return user_create(name="Ada")


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    """A browser that has signed in; `csrf` is what it was told."""
    response = login(client, user)
    assert response.status_code == 200, response.content
    client.csrf = response.json()["csrf_token"]  # type: ignore[attr-defined]  # the test's own
    return client


def csrf(client: Any) -> dict[str, str]:
    return {"x-csrftoken": client.csrf}


# --- What the browser is given.


def test_signing_in_sets_two_cookies_and_shows_no_token(client: Client, user: User) -> None:
    response = login(client, user)
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"csrf_token", "token_type", "expires_in", "session"}
    assert body["csrf_token"] not in (held(client)["access"], held(client)["refresh"])
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.cookies) == {"access", "refresh"}
    access, refresh = response.cookies["access"], response.cookies["refresh"]
    assert attributes(access) == {"path": "/", "max-age": 900, "httponly": True, "samesite": "Lax", "secure": ""}
    assert attributes(refresh) == {
        "path": "/api/v1/auth/",
        "max-age": settings.TOKENS_REFRESH_SECONDS,
        "httponly": True,
        "samesite": "Lax",
        "secure": "",
    }
    assert family_of(client).transport == Transport.COOKIE


def attributes(morsel: Morsel[str]) -> dict[str, Any]:
    return {name: morsel[name] for name in ("path", "max-age", "httponly", "samesite", "secure")}


def test_no_cookie_outlives_the_sign_in(client: Client, user: User) -> None:
    with override_settings(TOKENS_SESSION_SECONDS=300):
        response = login(client, user)
    assert response.cookies["access"]["max-age"] <= 300
    assert response.cookies["refresh"]["max-age"] <= 300


def test_bearer_is_the_default_and_sets_no_cookie(client: Client, user: User) -> None:
    for chosen in ({}, {"transport": "bearer"}):
        response = post(client, "login", {"email": user.email, "password": PASSWORD, **chosen}, origin=None)
        assert {"access", "refresh"} < set(response.json())
        assert not response.cookies


@pytest.mark.parametrize("transport", ["admin", "Cookie", "", None, ["cookie"], {"a": 1}, 1])
def test_there_is_no_third_transport(client: Client, user: User, transport: Any) -> None:
    body = {"email": user.email, "password": PASSWORD, "transport": transport}
    assert_problem(post(client, "login", body), 400, "validation", pointer="/transport")
    assert not RefreshFamily.objects.exists()


def test_the_refresh_cookie_goes_to_where_it_is_used(client: Client) -> None:
    for name in ("auth-refresh", "auth-logout", "auth-login"):
        assert reverse(name).startswith(settings.TOKENS_REFRESH_PATH)
    assert resolve(f"{settings.TOKENS_REFRESH_PATH}refresh").url_name == "auth-refresh"


def test_a_browser_reads_writes_refreshes_reloads_and_leaves(signed_in: Client, user: User) -> None:
    assert signed_in.get(ME).json()["name"] == "Ada"
    changed = signed_in.patch(ME, {"name": "Lovelace"}, content_type="application/json", headers=csrf(signed_in))
    assert changed.status_code == 200, changed.content
    before = held(signed_in)
    answer = post(signed_in, "refresh")
    assert answer.status_code == 200, answer.content
    assert answer.json()["csrf_token"] == signed_in.csrf  # type: ignore[attr-defined]  # the test's own
    assert not {"access", "refresh"} & set(answer.json())
    after = held(signed_in)
    assert after["refresh"] != before["refresh"]
    assert after["access"] != before["access"]
    reloaded = signed_in.get("/api/v1/auth/csrf")
    assert reloaded.json() == {"csrf_token": signed_in.csrf}  # type: ignore[attr-defined]  # the test's own
    assert reloaded.headers["Cache-Control"] == "no-store"
    assert signed_in.get(ME).json()["name"] == "Lovelace"
    left = post(signed_in, "logout", **csrf(signed_in))
    assert left.status_code == 204
    assert taken_back(left) == {"access", "refresh"}
    assert held(signed_in) == {}
    assert_problem(Client().get(ME), 401, "not-authenticated")


def test_an_empty_object_refreshes_as_an_empty_body_does(signed_in: Client) -> None:
    assert post(signed_in, "refresh", {}).status_code == 200


def test_every_answer_that_depends_on_a_cookie_says_so(signed_in: Client) -> None:
    for path in (ME, "/api/v1/auth/sessions", "/api/v1/jobs"):
        response = signed_in.get(path)
        assert response.status_code == 200
        assert "cookie" in response.headers["Vary"].lower()
        assert "private" in response.headers["Cache-Control"]


# --- The CSRF token.


def wrong_tokens(client: Client) -> Iterator[dict[str, str]]:
    right = csrf(client)["x-csrftoken"]
    yield {}
    yield {"x-csrftoken": ""}
    yield {"x-csrftoken": right[:-1]}
    yield {"x-csrftoken": f"{right} "[:-1].upper()}
    yield {"x-csrftoken": "é" * 64}
    yield {"x-csrftoken": "0" * 100_000}
    yield {"x-csrftoken": csrf_token(sign_in(user_create(), transport=Transport.COOKIE).family_id)}
    yield {"x-csrftoken": held(client)["access"]}
    yield {"csrftoken": right}
    family = family_of(client)
    yield {"x-csrftoken": hashlib.sha256(family.pk.bytes).hexdigest()}
    yield {"x-csrftoken": hmac.new(b"guess", family.pk.bytes, hashlib.sha256).hexdigest()}


def test_a_write_without_the_token_of_this_sign_in_is_refused(signed_in: Client, user: User) -> None:
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
    assert family_of(signed_in).ended_at is None


def test_every_operation_that_changes_something_asks_for_it(signed_in: Client) -> None:
    """Whatever routes there are: a cookie alone is let through nowhere but where a password or a refresh token is sent."""
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
def test_what_a_form_can_send_changes_nothing(signed_in: Client, user: User, content_type: str) -> None:
    """A form of another page sends these three without a preflight, and can set no header."""
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


def test_no_header_or_parameter_makes_a_read_a_write(signed_in: Client) -> None:
    for headers in ({"x-http-method-override": "DELETE"}, {"x-method-override": "DELETE"}, {"x-http-method": "DELETE"}):
        assert signed_in.get("/api/v1/auth/sessions", headers=headers).status_code == 200
    assert_problem(signed_in.get("/api/v1/auth/sessions?_method=DELETE"), 400, "validation", pointer="?_method")
    assert family_of(signed_in).ended_at is None


def test_the_token_outlives_a_change_of_the_secret_key(signed_in: Client) -> None:
    old = settings.SECRET_KEY
    with override_settings(SECRET_KEY="n" * 60, SECRET_KEY_FALLBACKS=[old]):
        answer = signed_in.patch(ME, {"name": "B"}, content_type="application/json", headers=csrf(signed_in))
        assert answer.status_code == 200
        assert signed_in.get("/api/v1/auth/csrf").json()["csrf_token"] != csrf(signed_in)["x-csrftoken"]
    with override_settings(SECRET_KEY="n" * 60, SECRET_KEY_FALLBACKS=[]):
        answer = signed_in.patch(ME, {"name": "C"}, content_type="application/json", headers=csrf(signed_in))
        assert_problem(answer, 403, "csrf-token")


# --- The origin, where no sign-in is known yet.

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
def test_signing_in_and_refreshing_by_cookie_need_a_listed_origin(
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
    assert RefreshFamily.objects.get().previous_id is None


@pytest.mark.parametrize("origin", [HERE, APP])
def test_a_listed_origin_may_and_its_page_may_read_the_answer(client: Client, user: User, origin: str) -> None:
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
def test_the_services_own_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of_url(url) == origin


# --- One transport at a time, and each token its own way.


def test_two_transports_in_one_request_are_refused(signed_in: Client, user: User) -> None:
    other = sign_in(user)
    header = {"authorization": f"Bearer {other.access}"}
    for method, path in [("GET", ME), ("PATCH", ME), ("GET", "/api/v1/auth/csrf"), ("GET", NOTES)]:
        for headers in (header, {"authorization": "bearer nonsense"}):
            assert_problem(
                signed_in.generic(method, path, headers={**headers, **csrf(signed_in)}), 400, "two-transports"
            )
    assert_problem(post(signed_in, "logout", **header, **csrf(signed_in)), 400, "two-transports")
    assert_problem(post(signed_in, "refresh", {"refresh": other.refresh}), 400, "two-transports")
    assert_problem(post(signed_in, "refresh", **header), 400, "two-transports")
    signed_in.cookies.pop("access")
    assert_problem(post(signed_in, "refresh", {"refresh": other.refresh}), 400, "two-transports")
    assert_problem(post(signed_in, "logout", **header), 400, "two-transports")
    assert RefreshFamily.objects.filter(ended_at=None, previous_id=None).count() == 2


def test_a_view_that_takes_cookies_alone_refuses_two_transports_as_well(user: User) -> None:
    class Bare(APIView):
        authentication_classes = (CookieAuthentication,)

        def get(self, request: Request) -> Response:
            return Response({"email": request.user.email})

    pair = sign_in(user, transport=Transport.COOKIE)
    view, own = Bare.as_view(), {"cookie": f"access={pair.access}"}
    assert view(RequestFactory().get("/", headers=own)).status_code == 200
    both = {**own, "authorization": f"Bearer {pair.access}"}
    assert json.loads(view(RequestFactory().get("/", headers=both)).content)["type"].endswith("/two-transports")


def test_a_token_of_a_cookie_is_no_bearer_token(client: Client, signed_in: Client) -> None:
    stolen = held(signed_in)
    stranger = Client()
    answer = stranger.get(ME, headers={"authorization": f"Bearer {stolen['access']}"})
    assert_problem(answer, 401, "token-refused")
    assert_problem(post(stranger, "refresh", {"refresh": stolen["refresh"]}), 401, "token-refused")
    assert_problem(post(stranger, "logout", authorization=f"Bearer {stolen['access']}"), 401, "token-refused")
    assert signed_in.get(ME).status_code == 200


def test_a_bearer_token_is_no_cookie(client: Client, user: User) -> None:
    pair = sign_in(user)
    for name, value in (("access", pair.access), ("refresh", pair.refresh)):
        client.cookies[name] = value
    known = {"x-csrftoken": csrf_token(pair.family_id)}
    assert_problem(client.get(ME), 401, "token-refused")
    client.cookies["access"], client.cookies["refresh"] = pair.access, pair.refresh
    assert_problem(post(client, "refresh", **known), 401, "token-refused")
    client.cookies["access"], client.cookies["refresh"] = pair.access, pair.refresh
    assert_problem(post(client, "logout", **known), 401, "token-refused")
    assert RefreshFamily.objects.get().ended_at is None


def test_a_refresh_token_opens_nothing(signed_in: Client) -> None:
    """Sent where it does not belong, alone or in the other's place."""
    refresh = held(signed_in)["refresh"]
    alone = Client()
    alone.cookies["refresh"] = refresh
    assert_problem(alone.get(ME), 401, "not-authenticated")
    assert_problem(alone.get("/api/v1/auth/csrf"), 401, "not-authenticated")
    disguised = Client()
    disguised.cookies["access"] = refresh
    assert_problem(disguised.get(ME), 401, "token-refused")
    disguised = Client()
    disguised.cookies["refresh"] = held(signed_in)["access"]
    assert_problem(post(disguised, "refresh"), 401, "token-refused")


def test_without_any_token_a_refresh_is_told_where_to_put_one(client: Client) -> None:
    for body in (None, {}):
        answer = post(client, "refresh", body)
        assert "refresh" in assert_problem(answer, 401, "not-authenticated")["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(post(client, "refresh", {"refresh": ""}), 400, "validation", pointer="/refresh")
    assert_problem(post(client, "refresh", {"refresh": None}), 400, "validation", pointer="/refresh")


def test_a_bearer_sign_in_has_no_csrf_token(client: Client, user: User) -> None:
    assert_problem(client.get("/api/v1/auth/csrf", **bearer(user)), 403, "permission-denied")


# --- Cookies that somebody else has planted, or that are none of ours.


def test_a_cookie_that_comes_twice_is_refused(signed_in: Client) -> None:
    theirs = sign_in(user_create(), transport=Transport.COOKIE)
    own = held(signed_in)
    bare = Client()
    for first, second in ((own["access"], theirs.access), (theirs.access, own["access"])):
        assert_problem(bare.get(ME, headers={"cookie": f"access={first}; access={second}"}), 400, "cookie-repeated")
    for first, second in ((own["refresh"], theirs.refresh), (theirs.refresh, own["refresh"])):
        answer = post(bare, "refresh", cookie=f"refresh={first};  refresh ={second}")
        assert_problem(answer, 400, "cookie-repeated")
        answer = post(bare, "logout", cookie=f"refresh={first}; refresh={second}", **csrf(signed_in))
        assert_problem(answer, 400, "cookie-repeated")
    assert RefreshFamily.objects.filter(ended_at=None, previous_id=None).count() == 2
    # Another's cookie whose name only looks alike is nobody's business.
    fine = bare.get(ME, headers={"cookie": f"xaccess=1; access={own['access']}; access2=; my=access"})
    assert fine.status_code == 200


@pytest.mark.parametrize(
    "value",
    ["", "x", "a.b.c", "é.é.é", "%00", '"', "a" * 60_000, "." * 5000, "\x7f", "eyJhbGciOiJub25lIn0.e30.", "Bearer x"],
)
def test_a_cookie_that_is_no_token_is_refused_and_taken_back(client: Client, value: str) -> None:
    answer = client.get(ME, headers={"cookie": f"access={value}"})
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == {"access"}  # what is in the refresh cookie may be good
    answer = post(client, "refresh", cookie=f"refresh={value}")
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == {"access", "refresh"}
    answer = post(client, "logout", cookie=f"access={value}; refresh={value}")
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == {"access", "refresh"}


def test_a_public_page_refuses_a_bad_cookie_too(client: Client) -> None:
    assert_problem(client.get(NOTES, headers={"cookie": "access=x"}), 401, "token-refused")


# --- Signing in anew.


@committed
def test_signing_in_replaces_whatever_sign_in_was_there(signed_in: Client, user: User) -> None:
    """Nothing that was planted before is kept, and what is replaced does not live on unseen."""
    before, planted = family_of(signed_in), held(signed_in)
    other = user_create()
    answer = login(signed_in, other)
    assert answer.status_code == 200
    after = family_of(signed_in)
    assert after.user_id == other.pk
    assert after.pk != before.pk
    assert {planted["access"], planted["refresh"]} & set(held(signed_in).values()) == set()
    before.refresh_from_db()
    assert before.ended_reason == "logout"
    assert_problem(Client().get(ME, headers={"cookie": f"access={planted['access']}"}), 401, "token-refused")


@committed
def test_signing_in_by_cookie_or_bearer_is_not_hindered_by_stale_cookies(client: Client, user: User) -> None:
    client.cookies["access"], client.cookies["refresh"] = "stale", "stale"
    assert post(client, "login", {"email": user.email, "password": PASSWORD}).status_code == 200
    assert login(client, user).status_code == 200
    assert client.get(ME).status_code == 200
    answer = post(
        Client(),
        "login",
        {"email": user.email, "password": PASSWORD, "transport": "cookie"},
        cookie="access=1; access=2",
    )
    assert answer.status_code == 200


@committed
def test_a_bearer_sign_in_leaves_the_one_in_cookies_alone(signed_in: Client, user: User) -> None:
    assert post(signed_in, "login", {"email": user.email, "password": PASSWORD}).status_code == 200
    assert family_of(signed_in).ended_at is None


def test_a_failed_sign_in_leaves_what_was_there(signed_in: Client, user: User) -> None:
    before = held(signed_in)
    body = {"email": user.email, "password": "not the password", "transport": "cookie"}
    assert_problem(post(signed_in, "login", body), 401, "credentials-refused")
    assert held(signed_in) == before
    assert signed_in.get(ME).status_code == 200


# --- The end.


@committed
def test_signing_out_works_when_the_access_cookie_is_gone(signed_in: Client) -> None:
    family, access = family_of(signed_in), held(signed_in)["access"]
    signed_in.cookies.pop("access")
    assert_problem(post(signed_in, "logout"), 403, "csrf-token")
    assert set(held(signed_in)) == {"refresh"}
    answer = post(signed_in, "logout", **csrf(signed_in))
    assert answer.status_code == 204
    assert taken_back(answer) == {"access", "refresh"}
    family.refresh_from_db()
    assert family.ended_reason == "logout"
    assert_problem(Client().get(ME, headers={"cookie": f"access={access}"}), 401, "token-refused")


@committed
def test_signing_out_works_when_the_access_cookie_has_expired(client: Client, user: User) -> None:
    old = sign_in(user, transport=Transport.COOKIE, now=timezone.now() - timedelta(hours=1))
    client.cookies["access"], client.cookies["refresh"] = old.access, old.refresh
    answer = client.get(ME)
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == {"access"}
    assert set(held(client)) == {"refresh"}
    client.cookies["access"] = old.access
    assert post(client, "logout", **{"x-csrftoken": csrf_token(old.family_id)}).status_code == 204
    assert RefreshFamily.objects.get(pk=old.family_id).ended_reason == "logout"


@committed
def test_a_sign_in_that_is_over_takes_its_cookies_along(signed_in: Client, user: User) -> None:
    family = family_of(signed_in)
    RefreshFamily.objects.filter(pk=family.pk).update(ended_at=timezone.now(), ended_reason="admin")
    kept = held(signed_in)
    with override_settings(TOKENS_CHECK_SECONDS=0):
        for call in (
            lambda: signed_in.get(ME),
            lambda: signed_in.get(NOTES),
            lambda: post(signed_in, "refresh"),
            lambda: post(signed_in, "logout", **csrf(signed_in)),
        ):
            answer = call()
            assert_problem(answer, 401, "token-refused")
            assert taken_back(answer) == {"access", "refresh"}
            assert answer.cookies["refresh"]["path"] == settings.TOKENS_REFRESH_PATH
            for name, value in kept.items():
                signed_in.cookies[name] = value


@committed
def test_a_stolen_refresh_cookie_ends_the_sign_in_for_both(signed_in: Client) -> None:
    stolen = held(signed_in)["refresh"]
    with override_settings(TOKENS_GRACE_SECONDS=0):
        assert post(signed_in, "refresh").status_code == 200
        thief = Client()
        thief.cookies["refresh"] = stolen
        answer = post(thief, "refresh")
    assert_problem(answer, 401, "token-reused")
    assert taken_back(answer) == {"access", "refresh"}
    assert_problem(signed_in.get(ME), 401, "token-refused")


def test_two_tabs_that_refresh_at_once_get_the_same_successor(client: Client, user: User) -> None:
    device = {"user-agent": "tests/1"}
    login(client, user, **device)
    tabs = [Client(), Client()]
    for tab in tabs:
        tab.cookies["refresh"] = held(client)["refresh"]
        assert post(tab, "refresh", **device).status_code == 200
    assert held(tabs[0])["refresh"] == held(tabs[1])["refresh"]


def test_a_cookie_sign_in_refreshes_by_cookie_in_the_service_too(user: User) -> None:
    from apps.accounts.services.events import Origin

    pair: TokenPair = sign_in(user, transport=Transport.COOKIE)
    options = {"token": pair.refresh, "origin": Origin(device="test"), "now": timezone.now()}
    assert session_refresh(**options, transport=Transport.COOKIE).transport == Transport.COOKIE
    assert RefreshToken.read(pair.refresh).family_id == pair.family_id


# --- Caches and limits.


@pytest.mark.parametrize("name", ["access", "__Host-access", "refresh", "__Secure-refresh"])
def test_who_has_a_cookie_of_ours_neither_gets_nor_fills_a_public_entry(name: str, user: User) -> None:
    """Who wrote a draft sees it, and leaves nothing for others to see; what others share is not given to them either."""
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


def test_a_cookie_counts_by_user_and_a_bad_one_by_address(signed_in: Client) -> None:
    assert '"user"' in signed_in.get(ME).headers["RateLimit"]
    assert '"anon"' in Client().get(ME, headers={"cookie": "access=x"}).headers["RateLimit"]
