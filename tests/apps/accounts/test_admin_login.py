"""Signing in to the admin starts a session that is counted, listed and ended like any other."""

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
def superuser() -> User:
    return user_create(email="admin@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def browser() -> Client:
    return Client(headers={"accept": "text/html", "user-agent": "Chromium"})


def sign_in(browser: Client, email: str = "admin@example.com", password: str = PASSWORD) -> Any:
    return browser.post(LOGIN, {"username": email, "password": password, "next": "/admin/"})


def is_in(browser: Client) -> bool:
    answer = browser.get("/admin/")
    assert answer.status_code == 200 or answer.headers["Location"].startswith(LOGIN)
    return answer.status_code == 200


def session_key(browser: Client) -> str:
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def test_admin_session_is_a_row_of_twelve_hours(superuser: User, browser: Client) -> None:
    answer = sign_in(browser, email=" Admin@Example.com")
    assert answer.status_code == 302, answer.content
    assert answer.headers["Location"] == "/admin/"
    assert is_in(browser)
    session = Session.objects.get()
    assert (session.user, session.transport, session.device, session.signed_by) == (superuser, "admin", "Chromium", "")
    assert session.expires_at - session.created_at == timedelta(hours=12)
    event = SecurityEvent.objects.get()
    assert (event.kind, event.user, event.session_id, event.detail) == (
        "sign-in",
        superuser,
        session.pk,
        {"transport": "admin"},
    )


def test_django_session_does_not_open_the_api(superuser: User, browser: Client) -> None:
    sign_in(browser)
    assert_problem(browser.get("/api/v1/me", headers={"accept": "*/*"}), 401, "not-authenticated")


def test_login_replaces_a_planted_session_key(superuser: User, browser: Client) -> None:
    admin_sign_in(browser, user_create(is_staff=True))
    planted = session_key(browser)
    assert sign_in(browser).status_code == 302
    assert session_key(browser) != planted
    assert not BrowserSession.objects.filter(pk=planted).exists()
    before = Session.objects.get(device="admin browser")
    assert before.ended_reason == "logout"  # a browser has one session at a time


def test_login_replaces_the_browsers_session(superuser: User, browser: Client) -> None:
    sign_in(browser)
    first = Session.objects.get()
    sign_in(browser)
    first.refresh_from_db()
    assert first.ended_at is not None
    assert is_in(browser)
    assert Session.objects.filter(ended_at=None).count() == 1


def _session_ends(superuser: User) -> None:
    session = Session.objects.get(transport="admin")
    session_end(session_id=session.pk, reason=EndReason.OWNER, now=timezone.now())


def _demoted(superuser: User) -> None:
    superuser.is_staff = False
    user_save(user=superuser, fields=("is_staff",))


def _expired(superuser: User) -> None:
    Session.objects.update(expires_at=timezone.now())
    sessions_forget_all()


def _gone(superuser: User) -> None:
    Session.objects.all().delete()
    sessions_forget_all()


ENDS: dict[str, Callable[[User], object]] = {
    "this one": _session_ends,
    "all of the user": lambda superuser: sessions_end(user_id=superuser.pk, reason=EndReason.ADMIN, now=timezone.now()),
    "password": lambda superuser: user_password_set(user=superuser, password=NEW, now=timezone.now()),
    "a mailed link": lambda superuser: password_reset(
        token=link(superuser, LinkPurpose.RESET_PASSWORD), new_password=NEW, origin=NOWHERE, now=timezone.now()
    ),
    "deactivation": lambda superuser: user_deactivate(user=superuser, now=timezone.now()),
    "demotion": _demoted,
    "twelve hours": _expired,
    "the row": _gone,
}


@pytest.mark.parametrize("end", ENDS)
def test_ended_session_is_refused_at_the_next_request(superuser: User, browser: Client, end: str) -> None:
    sign_in(browser)
    assert is_in(browser)
    key = session_key(browser)
    ENDS[end](superuser)
    assert not is_in(browser)
    assert end == "demotion" or not BrowserSession.objects.filter(pk=key).exists()


def test_owner_ends_an_admin_session_by_the_api(superuser: User, browser: Client, client: Client) -> None:
    sign_in(browser)
    assert client.delete("/api/v1/auth/sessions", **bearer(superuser)).status_code == 204
    assert not is_in(browser)


def test_password_change_by_the_api_ends_it(superuser: User, browser: Client, client: Client) -> None:
    sign_in(browser)
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = client.post("/api/v1/auth/password/change", body, content_type="application/json", **bearer(superuser))
    assert answer.status_code == 200, answer.content
    assert not is_in(browser)


def test_django_session_without_a_session_row_is_refused(superuser: User, browser: Client) -> None:
    browser.force_login(superuser)  # only a Django session
    key = session_key(browser)
    assert not is_in(browser)
    assert not BrowserSession.objects.filter(pk=key).exists()


def test_session_of_another_user_is_refused(superuser: User, browser: Client) -> None:
    session = admin_sign_in(browser, superuser)
    Session.objects.filter(pk=session.pk).update(user=user_create(is_staff=True))
    assert not is_in(browser)


def test_api_session_does_not_open_the_admin(superuser: User, browser: Client) -> None:
    session = admin_sign_in(browser, superuser)
    Session.objects.filter(pk=session.pk).update(transport="bearer")
    assert not is_in(browser)


def test_logout_needs_a_post_and_ends_the_session(superuser: User, browser: Client) -> None:
    sign_in(browser)
    assert browser.get("/admin/logout/").status_code == 405
    assert is_in(browser)
    assert browser.post("/admin/logout/").status_code == 200
    assert Session.objects.get().ended_reason == "logout"
    assert not is_in(browser)


@pytest.mark.parametrize("who", ["nobody", "no staff", "deactivated", "wrong password"])
def test_refused_logins_show_the_same_message(superuser: User, browser: Client, who: str) -> None:
    user_create(email="plain@example.com")
    user_create(email="gone@example.com", is_staff=True, is_active=False)
    email = {"no staff": "plain@example.com", "deactivated": "gone@example.com", "nobody": "no@example.com"}
    answer = sign_in(browser, email.get(who, superuser.email), WRONG if who == "wrong password" else PASSWORD)
    assert answer.status_code == 200
    errors = answer.context["form"].non_field_errors()
    assert [str(error)[:56] for error in errors] == ["Please enter the correct e-mail address and password for"]
    assert not Session.objects.exists()
    failed = SecurityEvent.objects.filter(kind="sign-in-failed").count()
    assert failed == (0 if who == "no staff" else 1)


@pytest.mark.usefixtures("clock")
def test_ten_attempts_at_admin_and_api_together(superuser: User, browser: Client, client: Client) -> None:
    inside = Client(headers={"accept": "text/html"})
    sign_in(inside)
    for _ in range(10):
        assert sign_in(browser, password=WRONG).status_code == 200
    answer = sign_in(browser)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Too many attempts" in answer.content.decode()
    body = {"email": superuser.email, "password": PASSWORD}
    over_api = client.post("/api/v1/auth/login", body, content_type="application/json")
    assert_problem(over_api, 429, "too-many-attempts")
    assert is_in(inside)
    AttemptCount.objects.update(refused_until=F("refused_until") - timedelta(seconds=1))
    assert sign_in(browser).status_code == 302
    assert not AttemptCount.objects.exists()


def test_busy_hasher_is_503_and_not_counted(superuser: User, browser: Client, settings: Any) -> None:
    settings.TOKENS_HASHES_AT_ONCE = 1
    with ExitStack() as stack:
        stack.enter_context(hashing_slot())
        answer = sign_in(browser)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert AttemptCount.objects.get().failures == 0


def test_overlong_password_is_not_hashed(superuser: User, browser: Client) -> None:
    answer = sign_in(browser, password="x" * 129)
    assert answer.status_code == 200
    assert "Use at most 128 characters" in answer.content.decode()
    assert not AttemptCount.objects.exists()


def own_password(browser: Client, old: str = PASSWORD, new: str = NEW) -> Any:
    body = {"old_password": old, "new_password1": new, "new_password2": new}
    return browser.post("/admin/password_change/", body)


def test_own_password_change_keeps_only_this_browser(superuser: User, browser: Client, client: Client) -> None:
    header, other = bearer(superuser), Client()
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
    superuser.refresh_from_db()
    assert superuser.check_password(NEW)
    assert SecurityEvent.objects.get(kind="password-changed").detail == {"by": "password"}


@pytest.mark.usefixtures("clock")
def test_own_password_change_counts_wrong_passwords(superuser: User, browser: Client) -> None:
    sign_in(browser)
    for _ in range(10):
        answer = own_password(browser, old=WRONG)
        assert answer.status_code == 200
        assert "old_password" in answer.context["form"].errors
    assert own_password(browser).status_code == 429
    superuser.refresh_from_db()
    assert superuser.check_password(PASSWORD)
    assert is_in(browser)


@pytest.mark.parametrize("new", ["short", "correct horse", "two lamps, " * 12, "admin@example.com"])
def test_own_password_is_validated(superuser: User, browser: Client, new: str) -> None:
    sign_in(browser)
    accepted = new == "correct horse"
    assert own_password(browser, new=new).status_code == (302 if accepted else 200)
    superuser.refresh_from_db()
    assert superuser.check_password(new) is accepted


def test_setting_ones_own_password_as_admin_signs_out(superuser: User, browser: Client) -> None:
    """That page does not ask for the current password, so it ends the session."""
    sign_in(browser)
    body = {"usable_password": "true", "password1": NEW, "password2": NEW}
    assert browser.post(f"/admin/accounts/user/{superuser.pk}/password/", body).status_code == 302
    assert not is_in(browser)
    assert sign_in(browser, password=NEW).status_code == 302


def test_first_superuser_can_sign_in(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--noinput", "--email", "first@example.com", verbosity=0)
    assert sign_in(browser, "first@example.com").status_code == 302
    assert is_in(browser)
