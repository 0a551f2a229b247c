"""Signing in to the admin is a sign-in like any other: counted, listed, and over when it is ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session as BrowserSession
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.utils import timezone

from apps.accounts.hashers import hashing_slot
from apps.accounts.models import AttemptCount, EndReason, LinkPurpose, SecurityEvent, Session, User
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.passwords import password_reset
from apps.accounts.services.sessions import session_end, sessions_end
from apps.accounts.services.users import user_deactivate, user_password_set, user_save
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, bearer, link, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db(transaction=True)
LOGIN = "/admin/login/"
NEW = "harbour lights in the fog"
WRONG = "not what it should be"


@pytest.fixture
def keeper() -> User:
    return user_create(email="keeper@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def browser() -> Client:
    return Client(headers={"accept": "text/html", "user-agent": "Chromium"})


def sign_in(browser: Client, email: str = "keeper@example.com", password: str = PASSWORD) -> Any:
    return browser.post(LOGIN, {"username": email, "password": password, "next": "/admin/"})


def is_in(browser: Client) -> bool:
    answer = browser.get("/admin/")
    assert answer.status_code == 200 or answer.headers["Location"].startswith(LOGIN)
    return answer.status_code == 200


def session_key(browser: Client) -> str:
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def test_a_sign_in_to_the_admin_is_a_row_of_twelve_hours(keeper: User, browser: Client) -> None:
    answer = sign_in(browser, email=" Keeper@Example.com")
    assert answer.status_code == 302, answer.content
    assert answer.headers["Location"] == "/admin/"
    assert is_in(browser)
    session = Session.objects.get()
    assert (session.user, session.transport, session.device, session.signed_by) == (keeper, "admin", "Chromium", "")
    assert session.expires_at - session.created_at == timedelta(hours=12)
    event = SecurityEvent.objects.get()
    assert (event.kind, event.user, event.session_id, event.detail) == (
        "sign-in",
        keeper,
        session.pk,
        {"transport": "admin"},
    )


def test_its_ids_are_no_tokens(keeper: User, browser: Client) -> None:
    sign_in(browser)
    assert_problem(browser.get("/api/v1/me", headers={"accept": "*/*"}), 401, "not-authenticated")


def test_a_session_that_was_planted_is_not_the_one_that_is_signed_in(keeper: User, browser: Client) -> None:
    admin_sign_in(browser, user_create(is_staff=True))
    planted = session_key(browser)
    assert sign_in(browser).status_code == 302
    assert session_key(browser) != planted
    assert not BrowserSession.objects.filter(pk=planted).exists()
    before = Session.objects.get(device="desk")
    assert before.ended_reason == "logout"  # the browser has one sign-in at a time


def test_signing_in_again_replaces_the_sign_in_of_this_browser(keeper: User, browser: Client) -> None:
    sign_in(browser)
    first = Session.objects.get()
    sign_in(browser)
    first.refresh_from_db()
    assert first.ended_at is not None
    assert is_in(browser)
    assert Session.objects.filter(ended_at=None).count() == 1


def _session_ends(keeper: User) -> None:
    session = Session.objects.get(transport="admin")
    session_end(session_id=session.pk, reason=EndReason.OWNER, now=timezone.now())


def _demoted(keeper: User) -> None:
    keeper.is_staff = False
    user_save(user=keeper, fields=("is_staff",))


def _expired(keeper: User) -> None:
    Session.objects.update(expires_at=timezone.now())
    sessions_forget_all()


def _gone(keeper: User) -> None:
    Session.objects.all().delete()
    sessions_forget_all()


ENDS: dict[str, Callable[[User], object]] = {
    "this one": _session_ends,
    "all of the user": lambda keeper: sessions_end(user_id=keeper.pk, reason=EndReason.ADMIN, now=timezone.now()),
    "password": lambda keeper: user_password_set(user=keeper, password=NEW, now=timezone.now()),
    "a mailed link": lambda keeper: password_reset(
        token=link(keeper, LinkPurpose.RESET_PASSWORD), new_password=NEW, origin=NOWHERE, now=timezone.now()
    ),
    "deactivation": lambda keeper: user_deactivate(user=keeper, now=timezone.now()),
    "demotion": _demoted,
    "twelve hours": _expired,
    "the row": _gone,
}


@pytest.mark.parametrize("end", ENDS)
def test_what_ends_a_sign_in_ends_it_in_the_admin_at_the_next_request(keeper: User, browser: Client, end: str) -> None:
    sign_in(browser)
    assert is_in(browser)
    key = session_key(browser)
    ENDS[end](keeper)
    assert not is_in(browser)
    assert end == "demotion" or not BrowserSession.objects.filter(pk=key).exists()


def test_ended_by_its_owner_from_the_api(keeper: User, browser: Client, client: Client) -> None:
    sign_in(browser)
    assert client.delete("/api/v1/auth/sessions", **bearer(keeper)).status_code == 204
    assert not is_in(browser)


def test_changing_the_password_over_the_api_ends_it(keeper: User, browser: Client, client: Client) -> None:
    sign_in(browser)
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = client.post("/api/v1/auth/password/change", body, content_type="application/json", **bearer(keeper))
    assert answer.status_code == 200, answer.content
    assert not is_in(browser)


def test_a_session_without_a_sign_in_is_worth_nothing(keeper: User, browser: Client) -> None:
    browser.force_login(keeper)  # a row of Django's alone
    key = session_key(browser)
    assert not is_in(browser)
    assert not BrowserSession.objects.filter(pk=key).exists()


def test_a_session_holds_for_its_own_user_alone(keeper: User, browser: Client) -> None:
    session = admin_sign_in(browser, keeper)
    Session.objects.filter(pk=session.pk).update(user=user_create(is_staff=True))
    assert not is_in(browser)


def test_a_sign_in_to_the_api_does_not_carry_an_admin_session(keeper: User, browser: Client) -> None:
    session = admin_sign_in(browser, keeper)
    Session.objects.filter(pk=session.pk).update(transport="bearer")
    assert not is_in(browser)


def test_signing_out_ends_the_row_and_a_link_does_not(keeper: User, browser: Client) -> None:
    sign_in(browser)
    assert browser.get("/admin/logout/").status_code == 405
    assert is_in(browser)
    assert browser.post("/admin/logout/").status_code == 200
    assert Session.objects.get().ended_reason == "logout"
    assert not is_in(browser)


@pytest.mark.parametrize("who", ["nobody", "no staff", "deactivated", "wrong password"])
def test_who_may_not_come_in_reads_one_sentence(keeper: User, browser: Client, who: str) -> None:
    user_create(email="plain@example.com")
    user_create(email="gone@example.com", is_staff=True, is_active=False)
    email = {"no staff": "plain@example.com", "deactivated": "gone@example.com", "nobody": "no@example.com"}
    answer = sign_in(browser, email.get(who, keeper.email), WRONG if who == "wrong password" else PASSWORD)
    assert answer.status_code == 200
    errors = answer.context["form"].non_field_errors()
    assert [str(error)[:56] for error in errors] == ["Please enter the correct e-mail address and password for"]
    assert not Session.objects.exists()
    failed = SecurityEvent.objects.filter(kind="sign-in-failed").count()
    assert failed == (0 if who == "no staff" else 1)


@pytest.mark.usefixtures("clock")
def test_guessing_is_refused_after_ten_tries_at_both_doors(keeper: User, browser: Client, client: Client) -> None:
    inside = Client(headers={"accept": "text/html"})
    sign_in(inside)
    for _ in range(10):
        assert sign_in(browser, password=WRONG).status_code == 200
    answer = sign_in(browser)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Too many attempts" in answer.content.decode()
    body = {"email": keeper.email, "password": PASSWORD}
    over_api = client.post("/api/v1/auth/login", body, content_type="application/json")
    assert_problem(over_api, 429, "too-many-attempts")
    assert is_in(inside)
    AttemptCount.objects.update(refused_until=F("refused_until") - timedelta(seconds=1))
    assert sign_in(browser).status_code == 302
    assert not AttemptCount.objects.exists()


def test_a_busy_hasher_is_503_and_costs_no_try(keeper: User, browser: Client, settings: Any) -> None:
    settings.TOKENS_HASHES_AT_ONCE = 1
    with ExitStack() as stack:
        stack.enter_context(hashing_slot())
        answer = sign_in(browser)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert AttemptCount.objects.get().failures == 0


def test_a_password_longer_than_any_is_not_hashed(keeper: User, browser: Client) -> None:
    answer = sign_in(browser, password="x" * 129)
    assert answer.status_code == 200
    assert "Use at most 128 characters" in answer.content.decode()
    assert not AttemptCount.objects.exists()


def own_password(browser: Client, old: str = PASSWORD, new: str = NEW) -> Any:
    body = {"old_password": old, "new_password1": new, "new_password2": new}
    return browser.post("/admin/password_change/", body)


def test_ones_own_password_keeps_this_browser_and_ends_every_other_sign_in(
    keeper: User, browser: Client, client: Client
) -> None:
    header, other = bearer(keeper), Client()
    sign_in(other)
    sign_in(browser)
    key = session_key(browser)
    assert browser.get("/admin/password_change/").status_code == 200
    assert own_password(browser).status_code == 302
    assert is_in(browser)
    assert session_key(browser) != key
    assert not is_in(other)
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert Session.objects.filter(ended_at=None).count() == 1
    assert set(Session.objects.exclude(ended_at=None).values_list("ended_reason", flat=True)) == {"password"}
    keeper.refresh_from_db()
    assert keeper.check_password(NEW)
    assert SecurityEvent.objects.get(kind="password-changed").detail == {"by": "password"}


@pytest.mark.usefixtures("clock")
def test_ones_own_password_needs_the_present_one_and_tries_are_counted(keeper: User, browser: Client) -> None:
    sign_in(browser)
    for _ in range(10):
        answer = own_password(browser, old=WRONG)
        assert answer.status_code == 200
        assert "old_password" in answer.context["form"].errors
    assert own_password(browser).status_code == 429
    keeper.refresh_from_db()
    assert keeper.check_password(PASSWORD)
    assert is_in(browser)


@pytest.mark.parametrize("new", ["short", "correct horse", "two lamps, " * 12, "keeper@example.com"])
def test_ones_own_password_obeys_the_rules(keeper: User, browser: Client, new: str) -> None:
    sign_in(browser)
    accepted = new == "correct horse"
    assert own_password(browser, new=new).status_code == (302 if accepted else 200)
    keeper.refresh_from_db()
    assert keeper.check_password(new) is accepted


def test_a_password_set_on_a_users_own_page_asks_to_sign_in_with_it(keeper: User, browser: Client) -> None:
    """That page asks for no present password, so it keeps nobody signed in."""
    sign_in(browser)
    body = {"usable_password": "true", "password1": NEW, "password2": NEW}
    assert browser.post(f"/admin/accounts/user/{keeper.pk}/password/", body).status_code == 302
    assert not is_in(browser)
    assert sign_in(browser, password=NEW).status_code == 302


def test_the_first_administrator_comes_in(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--noinput", "--email", "first@example.com", verbosity=0)
    assert sign_in(browser, "first@example.com").status_code == 302
    assert is_in(browser)
