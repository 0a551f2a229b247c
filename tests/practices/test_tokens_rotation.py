"""tokens: a refresh token gets one successor however often it is used; reuse of an older one ends the session."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from apps.accounts.models import EndReason, SecurityEvent, Session
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.sessions import session_end
from apps.jobs.models import Job
from tests.apps.accounts.factories import sign_in, user_create
from tests.practices.tokens_bench import AGENT, EPOCH, HEADER, KEY, NEXT, claims_of, forge, get_me, refresh, ring
from tests.problems import assert_problem
from tests.races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("token_keys")]
committed = pytest.mark.django_db(transaction=True)  # on_commit runs, and threads see the rows

DAY = timedelta(days=1)


def session_of(pair: Any) -> Any:
    return Session.objects.get(pk=pair.session_id)


def later(seconds: float) -> None:
    """Move the rotation into the past by this many seconds."""
    rotated = Session.objects.get().rotated_at
    Session.objects.update(rotated_at=rotated - timedelta(seconds=seconds))


@committed
def test_parallel_uses_get_one_successor(pair: Any) -> None:
    answers = at_once(12, lambda _: refresh(pair.refresh))
    assert [answer.status_code for answer in answers] == [200] * 12
    successors = {answer.json()["refresh"] for answer in answers}
    assert len(successors) == 1
    session = session_of(pair)
    assert claims_of(successors.pop())["jti"] == str(session.current_id)
    assert str(session.previous_id) == claims_of(pair.refresh)["jti"]


@committed
@pytest.mark.parametrize("case", ["no grace", "other devices"])
def test_parallel_uses_without_grace_end_the_session_once(pair: Any, case: str) -> None:

    grace = 0 if case == "no grace" else 10
    with override_settings(TOKENS_GRACE_SECONDS=grace):
        answers = at_once(8, lambda number: refresh(pair.refresh, agent=AGENT if grace == 0 else f"tab/{number}"))
    types = [answer.json().get("type", "").rpartition("/")[2] for answer in answers]
    assert sorted(types) == ["", *["token-refused"] * 6, "token-reused"]
    assert session_of(pair).ended_reason == "reuse"
    assert SecurityEvent.objects.filter(kind="token-reused", session_id=pair.session_id).count() == 1
    (mail,) = Job.objects.all()
    assert mail.parameters == {"template": "token-reused", "user_id": str(session_of(pair).user_id)}
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert_problem(refresh(winner.json()["refresh"]), 401, "token-refused")
    assert_problem(get_me(winner.json()["access"]), 401, "token-refused")


def test_predecessor_gets_the_same_successor_within_grace(pair: Any) -> None:
    first = refresh(pair.refresh).json()
    before = Session.objects.values().get()
    later(settings.TOKENS_GRACE_SECONDS - 6)
    again = refresh(pair.refresh).json()
    assert again["refresh"] == first["refresh"]
    assert get_me(again["access"]).status_code == 200
    assert Session.objects.values().get() == {
        **before,
        "rotated_at": before["rotated_at"] - timedelta(seconds=settings.TOKENS_GRACE_SECONDS - 6),
    }
    later(7)
    assert_problem(refresh(pair.refresh), 401, "token-reused")


@pytest.mark.parametrize(("ahead", "status"), [(8, 200), (60, 401)])
def test_slow_clock_does_not_extend_the_grace(pair: Any, ahead: int, status: int) -> None:
    """Another instance's clock may lag by the leeway of a token, but a lag of an hour gives no hour of grace."""
    refresh(pair.refresh)
    later(-ahead)
    assert refresh(pair.refresh).status_code == status


@committed
@pytest.mark.parametrize("case", ["after the grace", "from another device", "the one before"])
def test_reuse_ends_the_session(pair: Any, case: str) -> None:

    latest, agent = refresh(pair.refresh).json(), AGENT
    if case == "after the grace":
        later(settings.TOKENS_GRACE_SECONDS + 1)
    elif case == "from another device":
        agent = "thief/1"
    else:
        latest = refresh(latest["refresh"]).json()
    assert get_me(latest["access"]).status_code == 200
    answer = refresh(pair.refresh, agent=agent)
    assert_problem(answer, 401, "token-reused")
    assert "WWW-Authenticate" in answer.headers
    assert session_of(pair).ended_reason == "reuse"
    assert_problem(get_me(latest["access"]), 401, "token-refused")
    for token in (latest["refresh"], pair.refresh):
        assert_problem(refresh(token), 401, "token-refused")
    event = SecurityEvent.objects.get(kind="token-reused")
    assert (event.session_id, event.device) == (pair.session_id, agent)


@committed
def test_token_of_an_ended_session_is_no_reuse(pair: Any) -> None:

    latest = refresh(pair.refresh).json()
    session_end(session_id=pair.session_id, reason=EndReason.LOGOUT, now=timezone.now())
    for token in (pair.refresh, latest["refresh"]):
        assert_problem(refresh(token), 401, "token-refused")
    assert session_of(pair).ended_reason == "logout"
    assert not SecurityEvent.objects.filter(kind="token-reused").exists()
    assert not Job.objects.exists(), "a mail was sent"


def test_device_is_the_user_agent_cut_at_200(pair: Any) -> None:
    long = "x" * 300
    refresh(pair.refresh, agent=long)
    assert session_of(pair).device == "x" * 200
    assert refresh(pair.refresh, agent="x" * 250).status_code == 200
    assert_problem(refresh(pair.refresh, agent="x" * 199), 401, "token-reused")


# The same key signs a token again.


@pytest.fixture
def rotated(pair: Any) -> Any:
    """Return the response to a refresh, signed by `a`."""
    return refresh(pair.refresh).json()


def test_grace_successor_keeps_its_signing_key(pair: Any, rotated: dict[str, Any]) -> None:
    taken_over = session_of(pair).current_issued_at - timedelta(seconds=1)  # as if the clocks of two instances differed
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH), ("b", NEXT, taken_over))):
        again = refresh(pair.refresh).json()
        assert again["refresh"] == rotated["refresh"]
        assert jwt.get_unverified_header(again["access"])["kid"] == "b"
        assert jwt.get_unverified_header(refresh(again["refresh"]).json()["refresh"])["kid"] == "b"
        assert session_of(pair).signed_by == "b"


def test_dropped_key_is_replaced_for_the_same_token(pair: Any, rotated: dict[str, Any]) -> None:
    """The old signature is no longer valid; id and times stay, so there is only one token to use."""
    predecessor = forge({**HEADER, "kid": "b"}, claims_of(pair.refresh), key=NEXT)
    with override_settings(
        TOKENS_KEYS=ring(("b", NEXT, timezone.now()))
    ):  # it can sign from one second after the rotation
        again = refresh(predecessor).json()
        assert claims_of(again["refresh"]) == claims_of(rotated["refresh"])
        assert jwt.get_unverified_header(again["refresh"])["kid"] == "b"
        assert refresh(again["refresh"]).status_code == 200
        assert_problem(refresh(rotated["refresh"]), 401, "token-refused")


# The two ends of a session.


def test_session_ends_after_session_days(pair: Any) -> None:

    Session.objects.update(expires_at=timezone.now() + timedelta(seconds=60))
    answer = refresh(pair.refresh).json()
    assert abs(claims_of(answer["refresh"])["exp"] - session_of(pair).expires_at.timestamp()) <= 1
    assert answer["expires_in"] <= 60, "the access token outlives its session"
    assert get_me(answer["access"]).status_code == 200
    Session.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    sessions_forget_all()
    assert_problem(refresh(answer["refresh"]), 401, "token-refused")
    assert_problem(get_me(answer["access"]), 401, "token-refused")


def test_session_and_token_have_their_own_days(pair: Any) -> None:
    session = session_of(pair)
    assert (session.expires_at - session.created_at).total_seconds() == settings.TOKENS_SESSION_SECONDS
    assert claims_of(pair.refresh)["exp"] - claims_of(pair.refresh)["iat"] == settings.TOKENS_REFRESH_SECONDS


def test_unused_session_ends_and_refresh_extends_it(token_keys: None) -> None:

    days = timedelta(seconds=settings.TOKENS_REFRESH_SECONDS)
    pair = sign_in(user_create(), now=timezone.now() - days + timedelta(minutes=1), device=AGENT)
    answer = refresh(pair.refresh).json()
    assert claims_of(answer["refresh"])["exp"] - claims_of(pair.refresh)["exp"] > days.total_seconds() - 120
    left = sign_in(user_create(), now=timezone.now() - days - timedelta(minutes=1), device=AGENT)
    assert_problem(refresh(left.refresh), 401, "token-refused")


def test_lowered_days_apply_to_issued_tokens(pair: Any) -> None:
    Session.objects.update(current_issued_at=timezone.now() - 2 * DAY)
    with override_settings(TOKENS_REFRESH_SECONDS=DAY.total_seconds()):
        assert_problem(refresh(pair.refresh), 401, "token-refused")
    assert refresh(pair.refresh).status_code == 200
