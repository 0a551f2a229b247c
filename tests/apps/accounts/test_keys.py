"""`manage.py rotate_keys`: what becomes of the ring, and of the sign-ins of a key that others know."""

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
    """The ring in a variable."""
    with override_settings(TOKENS_KEYS=ring, TOKENS_KEYS_FILE=None):
        yield


def test_a_new_key_comes_beside_the_old_one_and_signs_ten_minutes_later(file: Path) -> None:
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


def test_two_new_keys_are_never_alike(file: Path, ring: list[dict[str, Any]]) -> None:
    made = []
    for _ in range(2):
        file.write_text(text_of(*ring))
        rotate()
        made.append(key_ring(file.read_text())[-1])
    assert made[0]["kid"] != made[1]["kid"]
    assert made[0]["key"] != made[1]["key"]


def test_without_a_file_the_value_is_printed_and_said_not_to_be_written(variable: None) -> None:
    out, error = rotate()
    old, new = key_ring(out)
    assert (old["kid"], new["key"] in error, out.count("\n")) == ("old", False, 1)
    assert "NOTHING WAS WRITTEN" in error
    assert not SecurityEvent.objects.exists(), "nothing was rotated yet"


def test_a_file_is_left_alone_when_the_value_is_to_be_printed(file: Path) -> None:
    before = file.read_bytes()
    out, error = rotate("--print")
    assert key_ring(out)[0]["kid"] == "old"
    assert "NOTHING WAS WRITTEN" in error
    assert file.read_bytes() == before


def test_a_rehearsal_changes_nothing_and_prints_no_key(file: Path) -> None:
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
def test_a_key_goes_once_nothing_that_it_signed_can_be_valid(file: Path, took_over: timedelta, kids: set[str]) -> None:
    now = timezone.now()
    entries = [entry("spare", SPARE, now - took_over), entry("old", OLD, now - 400 * DAY)]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert {each["kid"] for each in key_ring(file.read_text())[:-1]} == kids


def test_the_key_that_signs_stays_however_old_and_whatever_waits(file: Path) -> None:
    now = timezone.now()
    entries = [entry("old", OLD, now - 400 * DAY), entry("spare", SPARE, now + timedelta(minutes=5))]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert [each["kid"] for each in key_ring(file.read_text())[:2]] == ["old", "spare"]


def test_of_two_keys_of_one_time_the_one_that_signs_stays(file: Path) -> None:
    from apps.accounts.services.keys import KeyRing

    since = timezone.now() - 400 * DAY
    entries = [entry("old", OLD, since), entry("spare", SPARE, since)]
    signing = KeyRing(entries).signing(at=timezone.now()).kid
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert [each["kid"] for each in key_ring(file.read_text())[:-1]] == [signing]


@committed
def test_a_compromised_key_goes_with_its_sign_ins_and_no_others(file: Path, ring: list[dict[str, Any]]) -> None:
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
def test_the_last_key_is_followed_by_one_that_signs_at_once(file: Path, client: Client) -> None:
    pair = sign_in(user_create())
    rotate("--compromised", "old")
    (new,) = key_ring(file.read_text())  # which refuses a ring of which none signs yet
    with override_settings(TOKENS_KEYS=[new]):
        assert_problem(client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {pair.access}"), 401, "token-refused")
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == new["kid"]


@committed
def test_sign_ins_that_began_after_the_key_was_dropped_end_when_the_command_runs_again(file: Path) -> None:
    rotate("--compromised", "old")
    late = sign_in(user_create())  # by an instance that has not been restarted yet
    written = file.read_bytes()
    with override_settings(TOKENS_KEYS=key_ring(file.read_text())):
        out, _ = rotate("--compromised", "old")
        assert "Sessions ended because old signed their tokens: 1." in out
        assert Session.objects.get(pk=late.session_id).ended_reason == "key"
        with pytest.raises(CommandError, match="No key of the ring has the kid 'old'"):
            rotate("--compromised", "old")
    assert file.read_bytes() == written


@committed
def test_many_sign_ins_end_in_batches(variable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts.services import sessions

    monkeypatch.setattr(sessions, "END_BATCH", 2)
    user = user_create()
    for _ in range(5):
        sign_in(user)
    _, error = rotate("--compromised", "old")
    assert "Sessions ended because old signed their tokens: 5." in error
    assert not Session.objects.filter(ended_at=None).exists()


def test_an_unknown_kid_is_refused_with_those_there_are(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(CommandError, match=r"No key of the ring has the kid 'nothing'.*The ring has old"):
        rotate("--compromised", "nothing")
    assert file.read_bytes() == before


def test_times_are_written_in_utc_and_read_back_as_they_were(file: Path) -> None:
    since = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    entries = [entry("old", OLD, since)]
    file.write_text(text_of(*entries))
    with override_settings(TOKENS_KEYS=entries):
        rotate()
    assert json.loads(file.read_text())[0]["sign_from"] == "2026-01-01T12:30:00Z"
    assert key_ring(file.read_text())[0]["sign_from"] == since
