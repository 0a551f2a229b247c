"""Retention: old rows are deleted in small transactions, and only those."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.contrib.sessions.models import Session as BrowserSession
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import AccountLink, AttemptCount, EndReason, SecurityEvent, Session, User
from apps.jobs.models import Job, JobChunk
from apps.practices.database.keys import uuid7, uuid7_floor
from apps.practices.privacy.retention import PARTS, Retention, retentions
from tests.practices.test_database_failures import second_connection
from tests.sample.models import Note

DAY = timedelta(days=1)
KEEPING = override_settings(RETENTION_SESSIONS=30, RETENTION_EVENTS=8, RETENTION_JOBS=10)


def pruned(*arguments: str) -> str:
    """Run the command and return its output."""
    output = StringIO()
    with KEEPING:
        call_command("prune", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def session(*, ended: datetime | None = None, expires: datetime, **fields: Any) -> Session:
    user, _ = User.objects.get_or_create(email="owner@example.com")
    now = timezone.now()
    times = {"current_issued_at": now, "created_at": now, "last_used_at": now, "expires_at": expires}
    reason = EndReason.values[0] if ended else ""
    values = {"current_id": uuid7(), "ended_at": ended, "ended_reason": reason, **times, **fields}
    return Session.objects.create(user=user, **values)


@pytest.mark.django_db
def test_old_sessions_are_pruned() -> None:
    now = timezone.now()
    session(expires=now - 31 * DAY)
    session(expires=now + DAY, ended=now - 31 * DAY)
    session(expires=now - 40 * DAY, ended=now - 41 * DAY)
    kept = {session(expires=now - 29 * DAY).pk, session(expires=now + DAY, ended=now - 29 * DAY).pk}
    kept.add(session(expires=now + DAY).pk)
    assert "sessions: 3 would be deleted" in pruned("--dry-run")
    assert Session.objects.count() == 6, "--dry-run removed something"
    assert "sessions: 3 deleted (expired more than 30 days ago)" in pruned()
    assert set(Session.objects.values_list("pk", flat=True)) == kept
    assert "sessions: 0 deleted" in pruned()


@pytest.mark.django_db
@override_settings(TOKENS_REFRESH_SECONDS=14 * 24 * 60 * 60)
def test_unused_sessions_are_pruned() -> None:
    now = timezone.now()

    def begun(days: int, *, used: int) -> Session:
        key = UUID(int=uuid7_floor(now - days * DAY).int + used)
        return session(pk=key, expires=now + 30 * DAY, current_issued_at=now - used * DAY)

    gone, kept = [begun(45, used=45), begun(60, used=46)], [begun(60, used=43), begun(43, used=43), begun(60, used=1)]
    assert "sessions: 2 would be deleted" in pruned("--dry-run")
    assert "sessions: 2 deleted" in pruned()
    assert set(Session.objects.all()) == set(kept), gone


@pytest.mark.django_db
def test_old_security_events_are_pruned() -> None:
    now = timezone.now()
    user = User.objects.create(email="owner@example.com")
    for age in (7, 9, 11):
        for owner in (user, None):
            SecurityEvent.objects.create(
                kind="sign-in-failed", created_at=now - age * DAY, user=owner, address="192.0.2.0"
            )
    assert "security-events: 4 would be deleted" in pruned("--dry-run")
    assert "security-events: 4 deleted (expired more than 8 days ago)" in pruned()
    assert {event.created_at for event in SecurityEvent.objects.all()} == {now - 7 * DAY}
    assert SecurityEvent.objects.count() == 2


@pytest.mark.django_db
def test_expired_counters_and_links_are_pruned() -> None:
    now = timezone.now()
    user = User.objects.create(email="owner@example.com")
    for key, expires in ((b"gone" * 8, now - timedelta(seconds=1)), (b"kept" * 8, now + timedelta(hours=1))):
        AttemptCount.objects.create(key=key, failures=3, counted_since=now, expires_at=expires)
        AccountLink.objects.create(
            digest=key, user=user, purpose="reset-password", email=user.email, created_at=now, expires_at=expires
        )
    said = pruned()
    assert "attempts: 1 deleted (expired)" in said
    assert "links: 1 deleted (expired)" in said
    assert [bytes(count.key) for count in AttemptCount.objects.all()] == [b"kept" * 8]
    assert [bytes(link.digest) for link in AccountLink.objects.all()] == [b"kept" * 8]


@pytest.mark.django_db
def test_ended_jobs_are_pruned_with_their_files() -> None:
    now = timezone.now()
    gone = Job.objects.create(kind="sample.count", state="succeeded", finished_at=now - 11 * DAY)
    kept = [
        Job.objects.create(kind="sample.count", state="discarded", finished_at=now - 9 * DAY),
        Job.objects.create(kind="sample.count", state="queued", created_at=now - 99 * DAY, run_at=now - 99 * DAY),
        Job.objects.create(kind="sample.count", state="running", created_at=now - 99 * DAY, leased_until=now + DAY),
    ]
    for job in (gone, *kept):
        JobChunk.objects.create(job=job, purpose="upload", number=0, data=b"x" * 1000)
    with CaptureQueriesContext(connection) as queries:
        assert "jobs: 1 deleted (expired more than 10 days ago)" in pruned("--only", "jobs")
    assert set(Job.objects.values_list("pk", flat=True)) == {job.pk for job in kept}
    assert JobChunk.objects.count() == 3
    assert not [query for query in queries if '"data"' in query["sql"]], "the files were read to be removed"


@pytest.mark.django_db
def test_large_files_are_deleted_in_batches() -> None:
    now = timezone.now()
    gone = Job.objects.create(kind="sample.count", state="discarded", finished_at=now - 11 * DAY)
    kept = Job.objects.create(kind="sample.count", state="discarded", finished_at=now - 9 * DAY)
    for job in (gone, kept):
        JobChunk.objects.bulk_create(
            [JobChunk(job=job, purpose="upload", number=number, data=b"x") for number in range(2 * PARTS + 1)]
        )
    with CaptureQueriesContext(connection) as queries:
        assert "jobs: 1 deleted" in pruned("--only", "jobs")
    removals = [query["sql"] for query in queries if query["sql"].startswith('DELETE FROM "jobs_jobchunk"')]
    ids = [re.findall(r"\bIN \(((?:\d+, )*\d+)\)", sql) for sql in removals]
    assert [len(numbers[0].split(", ")) for numbers in ids if numbers] == [PARTS, PARTS, 1]
    assert JobChunk.objects.filter(job=kept).count() == JobChunk.objects.count() == 2 * PARTS + 1


@pytest.mark.django_db
def test_expired_admin_sessions_are_pruned() -> None:
    now = timezone.now()
    BrowserSession.objects.create(session_key="gone", session_data="", expire_date=now - timedelta(seconds=1))
    BrowserSession.objects.create(session_key="kept", session_data="", expire_date=now + timedelta(hours=1))
    assert "admin-sessions: 1 deleted (expired)" in pruned()
    assert [session.pk for session in BrowserSession.objects.all()] == ["kept"]


@pytest.fixture
def notes(db: None) -> Retention:
    """Return a rule that keeps notes for a day; 1,200 notes are older, one is new."""
    owner = User.objects.create(email="owner@example.com")
    Note.objects.bulk_create([Note(owner=owner, title=f"{number}") for number in range(1_200)])
    Note.objects.update(created_at=timezone.now() - 2 * DAY)
    Note.objects.create(owner=owner, title="new")
    declared = Retention(
        name="notes",
        days=lambda: 1,
        rows=lambda before: [Note.objects.filter(created_at__lt=before).order_by("created_at")],
    )
    del Retention.declared["notes"]
    return declared


def test_rows_are_deleted_in_batches(notes: Retention) -> None:
    batches = list(notes.prune(now=timezone.now(), batch=500))
    assert batches == [500, 500, 200]
    assert [note.title for note in Note.objects.all()] == ["new"]


@pytest.mark.django_db(transaction=True)
def test_locked_rows_are_skipped(notes: Retention) -> None:
    with second_connection() as rival:
        rival.execute("SELECT id FROM sample_note WHERE title = '7' FOR UPDATE")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            assert sum(notes.prune(now=timezone.now())) == 1_199
    assert sum(notes.prune(now=timezone.now())) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["sessions", "security-events", "attempts", "links", "jobs", "admin-sessions"])
def test_retention_queries_use_indexes(name: str) -> None:
    retention = next(one for one in retentions() if one.name == name)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    for rows in retention.rows(timezone.now()):
        plan = rows[:10].explain()
        assert "Index Scan" in plan, plan
        assert "Sort" not in plan, plan


@pytest.mark.django_db
def test_one_failure_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    BrowserSession.objects.create(session_key="gone", session_data="", expire_date=timezone.now() - DAY)

    def broken(before: datetime) -> list[Any]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT nothing")
        return []

    monkeypatch.setitem(Retention.declared, "aaa", object.__new__(Retention))
    for field, value in {"name": "aaa", "days": lambda: 0, "rows": broken}.items():
        object.__setattr__(Retention.declared["aaa"], field, value)
    with pytest.raises(CommandError, match="Not finished: aaa"):
        pruned()
    assert not BrowserSession.objects.exists()


@pytest.mark.django_db
def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        CommandError,
        match="admin-sessions, attempts, idempotency-keys, job-files, jobs, links, security-events, sessions",
    ):
        pruned("--only", "everything")


def test_names_are_unique() -> None:
    retentions()
    with pytest.raises(ValueError, match="declared twice"):
        Retention(name="jobs", days=lambda: 1, rows=lambda before: [])
