"""Foreign cookies, replaced cookies, and cookies that are deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from apps.accounts.models import Session, Transport, User
from apps.accounts.services.sessions import TokenPair, session_refresh
from apps.accounts.services.tokens import RefreshToken
from apps.accounts.transports import csrf_token
from tests.apps.accounts.cookies import ME, NOTES, Browser, csrf, held, login, post, session_of, taken_back
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run


# --- Cookies of other hosts and applications.


def test_repeated_cookie_is_refused(signed_in: Browser) -> None:
    theirs = sign_in(user_create(), transport=Transport.COOKIE)
    own = held(signed_in)
    bare = Client()
    for first, second in ((own["access"], theirs.access), (theirs.access, own["access"])):
        assert_problem(bare.get(ME, headers={"cookie": f"access={first}; access={second}"}), 400, "cookie-repeated")
    for first, second in ((own["refresh"], theirs.refresh), (theirs.refresh, own["refresh"])):
        answer = post(bare, "refresh", cookie=f"refresh={first};  refresh ={second}")
        assert_problem(answer, 400, "cookie-repeated")
        assert taken_back(answer) == {"access", "refresh", "binding"}
        answer = post(bare, "logout", cookie=f"refresh={first}; refresh={second}", **csrf(signed_in))
        assert_problem(answer, 400, "cookie-repeated")
    assert Session.objects.filter(ended_at=None, previous_id=None).count() == 2
    # A cookie whose name only looks similar is ignored.
    fine = bare.get(ME, headers={"cookie": f"xaccess=1; access={own['access']}; access2=; my=access"})
    assert fine.status_code == 200


FOREIGN = [
    "",
    "x",
    "a.b.c",
    "é.é.é",
    "%00",
    '"',
    "a" * 60_000,
    "." * 5000,
    "\x7f",
    "eyJhbGciOiJub25lIn0.e30.",
    "Bearer x",
]


@pytest.mark.parametrize("value", FOREIGN)
def test_foreign_cookie_is_ignored(client: Client, user: User, value: str) -> None:
    """All ports of localhost share their cookies, and other applications use the name `access` too."""
    theirs = {"cookie": f"access={value}; refresh={value}; binding={value}"}
    assert client.get(NOTES, headers=theirs).status_code == 200
    answer = client.get(ME, headers=theirs)
    assert_problem(answer, 401, "not-authenticated")
    assert not taken_back(answer)
    assert client.get(ME, headers=theirs, **bearer(user)).status_code == 200
    answer = post(client, "refresh", cookie=theirs["cookie"])
    assert_problem(answer, 401, "not-authenticated")
    assert not taken_back(answer)
    assert post(client, "refresh", {"refresh": sign_in(user).refresh}, cookie=theirs["cookie"]).status_code == 200


def test_our_cookie_works_beside_a_foreign_one(signed_in: Browser) -> None:
    own = held(signed_in)
    for cookies in (f"access=x; access={own['access']}", f"access={own['access']}; access=x"):
        assert Client().get(ME, headers={"cookie": cookies}).status_code == 200


def test_invalid_cookie_is_refused_and_deleted(signed_in: Browser) -> None:
    """A page that believes it is signed in finds out that it is not, on public lists as well."""
    forged = {name: held(signed_in)[name][:-4] + "AAAA" for name in ("access", "refresh")}
    for path in (ME, NOTES):
        answer = Client().get(path, headers={"cookie": f"access={forged['access']}"})
        assert_problem(answer, 401, "token-refused")
        assert taken_back(answer) == {"access"}  # the refresh cookie may still be valid
    every = {"access", "refresh", "binding"}
    answer = post(Client(), "refresh", cookie=f"refresh={forged['refresh']}; binding={held(signed_in)['binding']}")
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == every
    answer = post(Client(), "logout", cookie=f"access={forged['access']}; refresh={forged['refresh']}")
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == every


def test_refresh_cookie_of_another_host_is_refused(signed_in: Browser) -> None:
    """Another host of the domain can set a cookie with that name, but none named __Host-."""
    theirs = sign_in(user_create(), transport=Transport.COOKIE)
    own = held(signed_in)
    for cookies in (
        f"refresh={theirs.refresh}",
        f"refresh={theirs.refresh}; binding={own['binding']}",
        f"refresh={theirs.refresh}; binding={own['binding']}; access={own['access']}",
        f"refresh={theirs.refresh}; binding=",
    ):
        answer = post(Client(), "refresh", cookie=cookies)
        assert_problem(answer, 401, "token-refused")
        assert taken_back(answer) == {"access", "refresh", "binding"}
    assert not Session.objects.exclude(previous_id=None).exists()
    assert post(signed_in, "refresh").status_code == 200


# --- Signing in again.


@committed
def test_login_ends_the_replaced_session(signed_in: Browser, user: User) -> None:
    """No planted cookie is kept, and the replaced session ends."""
    before, planted = session_of(signed_in), held(signed_in)
    other = user_create()
    answer = login(signed_in, other)
    assert answer.status_code == 200
    after = session_of(signed_in)
    assert after.user_id == other.pk
    assert after.pk != before.pk
    assert {planted["access"], planted["refresh"]} & set(held(signed_in).values()) == set()
    before.refresh_from_db()
    assert before.ended_reason == "logout"
    assert_problem(Client().get(ME, headers={"cookie": f"access={planted['access']}"}), 401, "token-refused")


@committed
def test_login_ignores_stale_cookies(client: Client, user: User) -> None:
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
def test_bearer_login_keeps_the_cookie_session(signed_in: Browser, user: User) -> None:
    assert post(signed_in, "login", {"email": user.email, "password": PASSWORD}).status_code == 200
    assert session_of(signed_in).ended_at is None


def test_failed_login_keeps_the_session(signed_in: Browser, user: User) -> None:
    before = held(signed_in)
    body = {"email": user.email, "password": "not the password", "transport": "cookie"}
    assert_problem(post(signed_in, "login", body), 401, "credentials-refused")
    assert held(signed_in) == before
    assert signed_in.get(ME).status_code == 200


# --- The end of a session.


@committed
def test_logout_works_without_the_access_cookie(signed_in: Browser) -> None:
    session, access = session_of(signed_in), held(signed_in)["access"]
    signed_in.cookies.pop("access")
    assert_problem(post(signed_in, "logout"), 403, "csrf-token")
    assert set(held(signed_in)) == {"refresh", "binding"}
    answer = post(signed_in, "logout", **csrf(signed_in))
    assert answer.status_code == 204
    assert taken_back(answer) == {"access", "refresh", "binding"}
    session.refresh_from_db()
    assert session.ended_reason == "logout"
    assert_problem(Client().get(ME, headers={"cookie": f"access={access}"}), 401, "token-refused")


@committed
def test_logout_works_with_an_expired_access_cookie(client: Client, user: User) -> None:
    old = sign_in(user, transport=Transport.COOKIE, now=timezone.now() - timedelta(hours=1))
    client.cookies["access"], client.cookies["refresh"] = old.access, old.refresh
    answer = client.get(ME)
    assert_problem(answer, 401, "token-refused")
    assert taken_back(answer) == {"access"}
    assert set(held(client)) == {"refresh"}
    client.cookies["access"] = old.access
    assert post(client, "logout", **{"x-csrftoken": csrf_token(old.session_id)}).status_code == 204
    assert Session.objects.get(pk=old.session_id).ended_reason == "logout"


@committed
def test_ended_session_deletes_its_cookies(signed_in: Browser, user: User) -> None:
    session = session_of(signed_in)
    Session.objects.filter(pk=session.pk).update(ended_at=timezone.now(), ended_reason="admin")
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
            assert taken_back(answer) == {"access", "refresh", "binding"}
            assert answer.cookies["refresh"]["path"] == settings.TOKENS_REFRESH_PATH
            for name, value in kept.items():
                signed_in.cookies[name] = value


@committed
def test_reused_refresh_cookie_ends_the_session(signed_in: Browser) -> None:
    stolen = held(signed_in)
    with override_settings(TOKENS_GRACE_SECONDS=0):
        assert post(signed_in, "refresh").status_code == 200
        thief = Client()
        thief.cookies["refresh"], thief.cookies["binding"] = stolen["refresh"], stolen["binding"]
        answer = post(thief, "refresh")
    assert_problem(answer, 401, "token-reused")
    assert taken_back(answer) == {"access", "refresh", "binding"}
    assert_problem(signed_in.get(ME), 401, "token-refused")


def test_two_tabs_get_the_same_successor(client: Client, user: User) -> None:
    device = {"user-agent": "tests/1"}
    login(client, user, **device)
    tabs = [Client(), Client()]
    for tab in tabs:
        tab.cookies["refresh"], tab.cookies["binding"] = held(client)["refresh"], held(client)["binding"]
        assert post(tab, "refresh", **device).status_code == 200
    assert held(tabs[0])["refresh"] == held(tabs[1])["refresh"]


def test_service_refreshes_a_cookie_session(user: User) -> None:
    from apps.accounts.services.events import Origin

    pair: TokenPair = sign_in(user, transport=Transport.COOKIE)
    options = {"token": pair.refresh, "origin": Origin(device="test"), "now": timezone.now()}
    assert session_refresh(**options, transport=Transport.COOKIE).transport == Transport.COOKIE
    assert RefreshToken.read(pair.refresh).session_id == pair.session_id
