"""Security events record who, where and when, and are read-only."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import SecurityEvent, Session
from tests.apps.accounts.factories import admin_sign_in, sign_in, user_create

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = "/admin/accounts/securityevent/"


@pytest.fixture
def admin_browser() -> Client:
    client = Client(headers={"accept": "text/html"})
    admin_sign_in(client, user_create(email="root@example.com", is_staff=True, is_superuser=True))
    return client


def login(client: Client, email: str, password: str) -> Any:
    body = {"email": email, "password": password}
    headers = {"user-agent": "A phone", "x-request-id": "theirs"}
    return client.post("/api/v1/auth/login", body, content_type="application/json", headers=headers)


@pytest.mark.parametrize(("policy", "shown"), [("full", "203.0.113.77"), ("truncated", "203.0.113.0"), ("none", "")])
def test_failure_records_device_request_and_address(client: Client, settings: Any, policy: str, shown: str) -> None:
    settings.OBSERVABILITY_ADDRESSES = policy
    client.defaults["REMOTE_ADDR"] = "203.0.113.77"
    user = user_create(email="ada@example.com")
    answer = login(client, "Ada@example.com", "not what it should be")
    event = SecurityEvent.objects.get()
    assert (event.kind, event.user, event.session_id) == ("sign-in-failed", user, None)
    assert (event.device, event.address) == ("A phone", shown)
    assert event.request_id == answer.headers["X-Request-ID"]


def test_failure_without_account_stores_no_typed_address(client: Client) -> None:
    login(client, "a.password.typed@here.example", "not what it should be")
    event = SecurityEvent.objects.values().get()
    assert event["user_id"] is None
    assert "typed" not in repr(event)


def test_events_outlive_their_session(client: Client) -> None:
    pair = sign_in(user_create())
    Session.objects.all().delete()
    assert SecurityEvent.objects.get(kind="sign-in").session_id == pair.session_id


def test_admin_filters_events(admin_browser: Client) -> None:
    ada, bob = user_create(email="ada@example.com"), user_create(email="bob@example.com")
    for user in (ada, ada, bob):
        sign_in(user)
    assert rows(admin_browser, "?q=ada@example.com") == 2
    assert rows(admin_browser, f"?user__id__exact={ada.pk}") == 2
    assert rows(admin_browser, "?kind__exact=sign-in") == 4  # and the administrator's own
    assert rows(admin_browser, "?kind__exact=deleted") == 0
    assert rows(admin_browser, "?created_at__gte=2000-01-01T00:00:00%2B00:00") == 4
    assert rows(admin_browser, "?created_at__lt=2000-01-01T00:00:00%2B00:00") == 0


def rows(admin_browser: Client, query: str, path: str = EVENTS) -> int:
    page = admin_browser.get(f"{path}{query}")
    assert page.status_code == 200, page
    return len(page.context["cl"].result_list)


def test_user_page_links_to_sessions_and_events(admin_browser: Client) -> None:
    ada = user_create(email="ada@example.com")
    sign_in(ada)
    sign_in(user_create())
    page = admin_browser.get(f"/admin/accounts/user/{ada.pk}/change/").content.decode()
    links = re.findall(r'href="(/admin/accounts/(?:session|securityevent)/)(\?[^"]+)"', page)
    assert [rows(admin_browser, query, path) for path, query in links] == [1, 1]


def test_events_are_read_only_in_the_admin(admin_browser: Client) -> None:
    user = user_create()
    sign_in(user)
    event = SecurityEvent.objects.get(user=user)
    before = list(SecurityEvent.objects.values())
    page = admin_browser.get(f"{EVENTS}{event.pk}/change/")
    assert page.status_code == 200
    assert not re.findall(r'<(?:input|select|textarea)[^>]+name="(?!csrfmiddlewaretoken|next)', main_of(page))
    assert admin_browser.post(f"{EVENTS}{event.pk}/change/", {"kind": "deleted"}).status_code == 403
    assert admin_browser.get(f"{EVENTS}add/").status_code == 403
    assert admin_browser.post(f"{EVENTS}add/", {"kind": "deleted"}).status_code == 403
    assert admin_browser.post(f"{EVENTS}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(event.pk), "post": "yes"}
    admin_browser.post(EVENTS, chosen)
    assert list(SecurityEvent.objects.values()) == before


def main_of(page: Any) -> str:
    return page.content.decode().partition('id="content"')[2]


def test_ending_sessions_in_the_admin_is_an_event(admin_browser: Client) -> None:
    user = user_create()
    session_id = sign_in(user).session_id
    chosen = {"action": "end_selected", "_selected_action": str(session_id)}
    admin_browser.post("/admin/accounts/session/", chosen)
    event = SecurityEvent.objects.get(kind="sessions-ended")
    assert (event.user, event.session_id, event.detail) == (user, session_id, {"reason": "admin", "count": 1})
    assert event.request_id
