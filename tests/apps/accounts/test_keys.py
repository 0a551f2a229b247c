"""`manage.py rotate_keys`: the new ring, and the sessions of a compromised key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.core.management import CommandError
from django.test import Client, override_settings
from django.utils import timezone

from apps.accounts.models import SecurityEvent, Session
from settings.kinds import key_ring
from tests.apps.accounts.factories import sign_in, user_create
from tests.apps.accounts.rings import DAY, OLD, SPARE, entry, rotate, text_of
from tests.problems import assert_problem
from tests.processes import ROOT
from tools.fleet import production_environment

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ring() -> Iterator[list[dict[str, Any]]]:
    """Put a ring of one key, which signs, in the settings."""
    entries = [entry("old", OLD, timezone.now() - 3 * DAY)]
    with override_settings(TOKENS_KEYS=entries):
        yield entries


def kids(out: str) -> list[str]:
    return [each["kid"] for each in key_ring(out)]


def test_new_key_signs_ten_minutes_later() -> None:
    before = timezone.now()
    out, error = rotate()
    old, new = key_ring(out)
    assert (old["kid"], old["key"], out.count("\n")) == ("old", OLD, 1)
    assert len(new["key"].encode()) >= 32
    assert new["kid"].startswith((f"{before:%Y-%m-%d}-", f"{timezone.now():%Y-%m-%d}-"))
    assert timedelta(minutes=9, seconds=59) <= new["sign_from"] - before <= timedelta(minutes=10, seconds=30)
    assert new["kid"] in error
    for secret in (OLD, new["key"]):
        assert secret not in error
    assert not SecurityEvent.objects.exists(), "nothing was rotated yet"


def test_new_keys_differ() -> None:
    first, second = (key_ring(rotate()[0])[-1] for _ in range(2))
    assert first["kid"] != second["kid"]
    assert first["key"] != second["key"]


@pytest.mark.parametrize(
    ("took_over", "kept"), [(timedelta(days=14, hours=23), {"old", "spare"}), (timedelta(days=15, hours=1), {"spare"})]
)
def test_key_is_dropped_when_its_tokens_have_expired(took_over: timedelta, kept: set[str]) -> None:
    now = timezone.now()
    with override_settings(TOKENS_KEYS=[entry("spare", SPARE, now - took_over), entry("old", OLD, now - 400 * DAY)]):
        out, error = rotate()
    assert set(kids(out)[:-1]) == kept
    assert f"Dropped: {'none' if 'old' in kept else 'old'}." in error


def test_signing_key_is_never_dropped() -> None:
    now = timezone.now()
    entries = [entry("old", OLD, now - 400 * DAY), entry("spare", SPARE, now + timedelta(minutes=5))]
    with override_settings(TOKENS_KEYS=entries):
        assert kids(rotate()[0])[:2] == ["old", "spare"]


def test_signing_key_of_two_with_the_same_time_stays() -> None:
    from apps.accounts.services.keys import KeyRing

    since = timezone.now() - 400 * DAY
    entries = [entry("old", OLD, since), entry("spare", SPARE, since)]
    with override_settings(TOKENS_KEYS=entries):
        assert kids(rotate()[0])[:-1] == [KeyRing(entries).signing(at=timezone.now()).kid]


@committed
def test_compromised_key_ends_only_its_sessions(ring: list[dict[str, Any]]) -> None:
    now = timezone.now()
    mine = sign_in(user_create())
    with override_settings(TOKENS_KEYS=[*ring, entry("spare", SPARE, now - timedelta(seconds=1))]):
        other = sign_in(user_create())
        assert jwt.get_unverified_header(other.refresh)["kid"] == "spare"
        out, error = rotate("--compromised", "old")
    assert "Sessions ended because old signed their tokens: 1." in error
    assert OLD not in out + error
    kept, new = key_ring(out)
    assert (kept["kid"], new["sign_from"] > now) == ("spare", True)
    assert Session.objects.get(pk=mine.session_id).ended_reason == "key"
    assert Session.objects.get(pk=other.session_id).ended_at is None
    assert SecurityEvent.objects.get(kind="key-compromised").detail == {"kid": "old"}
    assert SecurityEvent.objects.get(kind="sessions-ended").session_id == mine.session_id


@committed
def test_replacement_of_the_last_key_signs_at_once(client: Client) -> None:
    pair = sign_in(user_create())
    out, _ = rotate("--compromised", "old")
    (new,) = key_ring(out)  # which refuses a ring without a key that can sign
    with override_settings(TOKENS_KEYS=[new]):
        assert_problem(client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {pair.access}"), 401, "token-refused")
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == new["kid"]


@committed
def test_second_run_ends_late_sessions() -> None:
    out, _ = rotate("--compromised", "old")
    late = sign_in(user_create())  # on an instance that has not been restarted yet
    with override_settings(TOKENS_KEYS=key_ring(out)):
        out, error = rotate("--compromised", "old")
        assert out == ""
        assert "Sessions ended because old signed their tokens: 1." in error
        assert Session.objects.get(pk=late.session_id).ended_reason == "key"
        with pytest.raises(CommandError, match="No key of the ring has the kid 'old'"):
            rotate("--compromised", "old")


@committed
def test_sessions_of_a_key_end_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts.services import sessions

    monkeypatch.setattr(sessions, "END_BATCH", 2)
    user = user_create()
    for _ in range(5):
        sign_in(user)
    _, error = rotate("--compromised", "old")
    assert "Sessions ended because old signed their tokens: 5." in error
    assert not Session.objects.filter(ended_at=None).exists()


def test_unknown_kid_is_refused() -> None:
    with pytest.raises(CommandError, match=r"No key of the ring has the kid 'nothing'.*The ring has old"):
        rotate("--compromised", "nothing")


def test_times_are_written_in_utc() -> None:
    since = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    with override_settings(TOKENS_KEYS=[entry("old", OLD, since)]):
        out, _ = rotate()
    assert json.loads(out)[0]["sign_from"] == "2026-01-01T12:30:00Z"
    assert key_ring(out)[0]["sign_from"] == since


def test_without_postgresql_sessions_are_not_reported_ended() -> None:
    nobody = {"database_url": "postgresql://nobody@127.0.0.1:9/none", "redis_url": "redis://127.0.0.1:9/0"}
    ring = text_of(entry("old", OLD, timezone.now() - DAY))
    ran = subprocess.run(
        [sys.executable, "manage.py", "rotate_keys", "--compromised", "old"],
        cwd=ROOT,
        env=production_environment(**nobody, JWT_KEYS=ring),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "PostgreSQL is unavailable" in ran.stderr
    assert "Run this command again" in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
    assert (ran.stdout, OLD in ran.stderr) == ("", False)
