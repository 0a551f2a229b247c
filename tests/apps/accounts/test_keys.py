"""`manage.py rotate_keys`: the new ring, and the sessions of a compromised key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
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

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def variable(ring: list[dict[str, Any]]) -> Iterator[None]:
    """Put the ring in the settings, without a file."""
    with override_settings(TOKENS_KEYS=ring, TOKENS_KEYS_FILE=None):
        yield


def test_new_key_signs_ten_minutes_later(file: Path) -> None:
    before = timezone.now()
    out, error = rotate()
    old, new = key_ring(file.read_text())
    assert (old["kid"], old["key"]) == ("old", OLD)
    assert len(new["key"].encode()) >= 32
    assert new["kid"].startswith((f"{before:%Y-%m-%d}-", f"{timezone.now():%Y-%m-%d}-"))
    assert timedelta(minutes=9, seconds=59) <= new["sign_from"] - before <= timedelta(minutes=10, seconds=30)
    assert new["kid"] in out
    assert error == ""
    assert "NOTHING WAS WRITTEN" not in out
    for secret in (OLD, new["key"]):
        assert secret not in out


def test_new_keys_differ(file: Path, ring: list[dict[str, Any]]) -> None:
    made = []
    for _ in range(2):
        file.write_text(text_of(*ring))
        rotate()
        made.append(key_ring(file.read_text())[-1])
    assert made[0]["kid"] != made[1]["kid"]
    assert made[0]["key"] != made[1]["key"]


def test_without_a_file_the_ring_is_printed(variable: None) -> None:
    out, error = rotate()
    old, new = key_ring(out)
    assert (old["kid"], new["key"] in error, out.count("\n")) == ("old", False, 1)
    assert "NOTHING WAS WRITTEN" in error
    assert not SecurityEvent.objects.exists(), "nothing was rotated yet"


def test_print_does_not_write_the_file(file: Path) -> None:
    before = file.read_bytes()
    out, error = rotate("--print")
    assert key_ring(out)[0]["kid"] == "old"
    assert "NOTHING WAS WRITTEN" in error
    assert file.read_bytes() == before


def test_dry_run_changes_nothing_and_prints_no_key(file: Path) -> None:
    before = file.read_bytes()
    sign_in(user_create())
    out, _ = rotate("--dry-run", "--compromised", "old")
    assert "Sessions that would end because old signed their tokens: 1." in out
    assert "Dry run" in out
    assert "Dropped: old" in out
    assert (file.read_bytes(), list(file.parent.iterdir())) == (before, [file])
    assert OLD not in out
    assert Session.objects.get().ended_at is None
    assert not SecurityEvent.objects.filter(kind="keys-rotated").exists()


@pytest.mark.parametrize(
    ("took_over", "kids"), [(timedelta(days=14, hours=23), {"old", "spare"}), (timedelta(days=15, hours=1), {"spare"})]
)
def test_key_is_dropped_when_its_tokens_have_expired(file: Path, took_over: timedelta, kids: set[str]) -> None:
    now = timezone.now()
    entries = [entry("spare", SPARE, now - took_over), entry("old", OLD, now - 400 * DAY)]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert {each["kid"] for each in key_ring(file.read_text())[:-1]} == kids


def test_signing_key_is_never_dropped(file: Path) -> None:
    now = timezone.now()
    entries = [entry("old", OLD, now - 400 * DAY), entry("spare", SPARE, now + timedelta(minutes=5))]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert [each["kid"] for each in key_ring(file.read_text())[:2]] == ["old", "spare"]


def test_signing_key_of_two_with_the_same_time_stays(file: Path) -> None:
    from apps.accounts.services.keys import KeyRing

    since = timezone.now() - 400 * DAY
    entries = [entry("old", OLD, since), entry("spare", SPARE, since)]
    signing = KeyRing(entries).signing(at=timezone.now()).kid
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert [each["kid"] for each in key_ring(file.read_text())[:-1]] == [signing]


@committed
def test_compromised_key_ends_only_its_sessions(file: Path, ring: list[dict[str, Any]]) -> None:
    now = timezone.now()
    mine = sign_in(user_create())
    entries = [*ring, entry("spare", SPARE, now - timedelta(seconds=1))]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        other = sign_in(user_create())
        assert jwt.get_unverified_header(other.refresh)["kid"] == "spare"
        out, _ = rotate("--compromised", "old")
    assert "Sessions ended because old signed their tokens: 1." in out
    kept, new = key_ring(file.read_text())
    assert (kept["kid"], new["sign_from"] > now) == ("spare", True)
    assert Session.objects.get(pk=mine.session_id).ended_reason == "key"
    assert Session.objects.get(pk=other.session_id).ended_at is None
    event = SecurityEvent.objects.get(kind="keys-rotated")
    assert event.detail == {"made": new["kid"], "dropped": ["old"], "compromised": "old"}
    assert SecurityEvent.objects.get(kind="sessions-ended").session_id == mine.session_id


@committed
def test_replacement_of_the_last_key_signs_at_once(file: Path, client: Client) -> None:
    pair = sign_in(user_create())
    rotate("--compromised", "old")
    (new,) = key_ring(file.read_text())  # which refuses a ring without a key that can sign
    with override_settings(TOKENS_KEYS=[new]):
        assert_problem(client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {pair.access}"), 401, "token-refused")
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == new["kid"]


@committed
def test_second_run_ends_late_sessions(file: Path) -> None:
    rotate("--compromised", "old")
    late = sign_in(user_create())  # on an instance that has not been restarted yet
    written = file.read_bytes()
    with override_settings(TOKENS_KEYS=key_ring(file.read_text())):
        out, _ = rotate("--compromised", "old")
        assert "Sessions ended because old signed their tokens: 1." in out
        assert Session.objects.get(pk=late.session_id).ended_reason == "key"
        with pytest.raises(CommandError, match="No key of the ring has the kid 'old'"):
            rotate("--compromised", "old")
    assert file.read_bytes() == written


@committed
def test_sessions_of_a_key_end_in_batches(variable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts.services import sessions

    monkeypatch.setattr(sessions, "END_BATCH", 2)
    user = user_create()
    for _ in range(5):
        sign_in(user)
    _, error = rotate("--compromised", "old")
    assert "Sessions ended because old signed their tokens: 5." in error
    assert not Session.objects.filter(ended_at=None).exists()


def test_unknown_kid_is_refused(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(CommandError, match=r"No key of the ring has the kid 'nothing'.*The ring has old"):
        rotate("--compromised", "nothing")
    assert file.read_bytes() == before


def test_times_are_written_in_utc(file: Path) -> None:
    since = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    entries = [entry("old", OLD, since)]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert json.loads(file.read_text())[0]["sign_from"] == "2026-01-01T12:30:00Z"
    assert key_ring(file.read_text())[0]["sign_from"] == since
