"""List sessions, and end one or all others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from apps.accounts.models import SecurityEvent, Session, Transport
from apps.accounts.services.events import Origin
from apps.accounts.services.sessions import TokenPair, session_create
from apps.accounts.transports import csrf_token
from tests.apps.accounts.factories import sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run

SESSIONS, ME = "/api/v1/auth/sessions", "/api/v1/me"


def by(pair: TokenPair) -> dict[str, Any]:
    """Return the headers of a session for `headers=`, with either transport."""
    if pair.transport == Transport.BEARER:
        return {"authorization": f"Bearer {pair.access}"}
    return {"cookie": f"access={pair.access}", "x-csrftoken": csrf_token(pair.session_id)}


def ids(client: Client, pair: TokenPair, query: str = "") -> list[str]:
    return [row["id"] for row in client.get(f"{SESSIONS}{query}", headers=by(pair)).json()["results"]]


def test_list_shows_active_sessions_in_documented_shape(client: Client) -> None:
    user = user_create()
    now = timezone.now()
    here = sign_in(user, device="Firefox", now=now - timedelta(minutes=2))
    phone = sign_in(user, device="App/1", transport=Transport.COOKIE, now=now - timedelta(minutes=1))
    admin = session_create(user=user, origin=Origin(), now=now, transport=Transport.ADMIN)
    sign_in(user_create())
    response = client.get(SESSIONS, headers=by(here))
    assert response.status_code == 200
    page = response.json()
    assert set(page) == {"results", "next", "previous"}
    assert [row["id"] for row in page["results"]] == [str(admin.pk), str(phone.session_id), str(here.session_id)]
    assert [row["current"] for row in page["results"]] == [False, False, True]
    last = page["results"][-1]
    assert set(last) == {"id", "device", "address", "created_at", "last_used_at", "current"}
    assert last["device"] == "Firefox"
    assert last["address"] == "192.0.2.1"
    assert page["results"][0]["address"] is None


def test_list_pages_and_selects_fields(client: Client) -> None:
    user = user_create()
    pairs = [sign_in(user, now=timezone.now() - timedelta(seconds=10 - n)) for n in range(5)]
    first = client.get(f"{SESSIONS}?limit=2&fields=id,current", headers=by(pairs[0])).json()
    assert [set(row) for row in first["results"]] == [{"id", "current"}] * 2
    second = client.get(first["next"], headers=by(pairs[0])).json()
    found = [row["id"] for row in first["results"] + second["results"]]
    assert found == [str(pair.session_id) for pair in reversed(pairs)][:4]
    assert ids(client, pairs[0], "?ordering=created_at") == [str(pair.session_id) for pair in pairs]
    assert_problem(client.get(f"{SESSIONS}?user=1", headers=by(pairs[0])), 400, "validation", pointer="?user")


def test_ended_sessions_are_hidden_and_404(client: Client) -> None:
    user = user_create()
    here = sign_in(user)
    now = timezone.now()
    ended = sign_in(user).session_id
    Session.objects.filter(pk=ended).update(ended_at=now, ended_reason="logout")
    over = sign_in(user).session_id
    Session.objects.filter(pk=over).update(expires_at=now - timedelta(seconds=1))
    idle = sign_in(user).session_id
    Session.objects.filter(pk=idle).update(
        current_issued_at=now - timedelta(seconds=settings.TOKENS_REFRESH_SECONDS + 1)
    )
    used = sign_in(user).session_id
    Session.objects.filter(pk=used).update(
        current_issued_at=now - timedelta(seconds=settings.TOKENS_REFRESH_SECONDS - 60)
    )
    assert set(ids(client, here)) == {str(here.session_id), str(used)}
    for one in (ended, over, idle, uuid4()):
        assert_problem(client.delete(f"{SESSIONS}/{one}", headers=by(here)), 404, "not-found")
    assert client.delete(f"{SESSIONS}/{used}", headers=by(here)).status_code == 204
    assert_problem(client.delete(f"{SESSIONS}/{used}", headers=by(here)), 404, "not-found")


@committed
def test_ending_one_session_keeps_the_others(client: Client) -> None:
    user = user_create()
    here, there, elsewhere = (sign_in(user, transport=Transport(kind)) for kind in ("bearer", "bearer", "cookie"))
    assert client.get(ME, headers=by(there)).status_code == 200
    answer = client.delete(f"{SESSIONS}/{there.session_id}", headers=by(here))
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(client.get(ME, headers=by(there)), 401, "token-refused")
    refreshed = client.post("/api/v1/auth/refresh", {"refresh": there.refresh}, content_type="application/json")
    assert_problem(refreshed, 401, "token-refused")
    for pair in (here, elsewhere):
        assert client.get(ME, headers=by(pair)).status_code == 200
    assert Session.objects.get(pk=there.session_id).ended_reason == "owner"
    event = SecurityEvent.objects.get(kind="sessions-ended")
    assert (event.user_id, event.session_id, event.detail["reason"]) == (user.pk, there.session_id, "owner")


@committed
def test_sessions_of_others_are_404(client: Client) -> None:
    theirs, ours = sign_in(user_create()), sign_in(user_create(is_staff=True, is_superuser=True))
    assert_problem(client.delete(f"{SESSIONS}/{theirs.session_id}", headers=by(ours)), 404, "not-found")
    assert client.get(ME, headers=by(theirs)).status_code == 200
    assert not SecurityEvent.objects.filter(kind="sessions-ended").exists()


@committed
@pytest.mark.parametrize("transport", ["bearer", "cookie"])
def test_ending_all_others_includes_admin_sessions(client: Client, transport: str) -> None:
    user = user_create()
    stranger = sign_in(user_create())
    here, *others = (sign_in(user, transport=Transport(kind)) for kind in (transport, "bearer", "cookie"))
    admin = session_create(user=user, origin=Origin(), now=timezone.now(), transport=Transport.ADMIN)
    answer = client.delete(SESSIONS, headers=by(here))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not answer.cookies
    assert ids(client, here) == [str(here.session_id)]
    for pair in others:
        assert_problem(Client().get(ME, headers=by(pair)), 401, "token-refused")
    assert client.get(ME, headers=by(stranger)).status_code == 200
    admin.refresh_from_db()
    assert admin.ended_reason == "owner"
    assert client.delete(SESSIONS, headers=by(here)).status_code == 204  # none is left to end


@committed
def test_ending_the_current_session_signs_out(client: Client) -> None:
    here = sign_in(user_create(), transport=Transport.COOKIE)
    answer = client.delete(f"{SESSIONS}/{here.session_id}", headers=by(here))
    assert answer.status_code == 204
    assert {name for name, morsel in answer.cookies.items() if morsel["max-age"] == 0} == {
        "access",
        "refresh",
        "binding",
    }
    assert_problem(Client().get(ME, headers=by(here)), 401, "token-refused")


def test_malformed_id_is_404(client: Client) -> None:
    here = sign_in(user_create())
    assert_problem(client.delete(f"{SESSIONS}/1", headers=by(here)), 404)
    assert_problem(client.delete(f"{SESSIONS}?all=1", headers=by(here)), 400, "validation", pointer="?all")


def test_list_is_two_queries(client: Client, django_assert_num_queries: Any) -> None:
    user = user_create()
    here = sign_in(user)
    for _ in range(5):
        sign_in(user)
    with django_assert_num_queries(2):  # the session check and the page
        assert len(ids(client, here)) == 6
