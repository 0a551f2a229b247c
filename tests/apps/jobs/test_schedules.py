"""Schedules: each due time once, however many workers look, and late if none did."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db.models.functions import Now
from django.utils import timezone

from apps.jobs.checks import check_queues, check_schedules
from apps.jobs.models import Job
from apps.jobs.services import chaining, claims
from apps.jobs.services.schedules import due_times, schedules_insert
from apps.jobs.tasks import job_run
from apps.practices.privacy.retention import retentions
from tests.clocks import not_at_the_turn
from tests.races import at_once

NOW = datetime(2026, 3, 5, 12, 34, 56, tzinfo=UTC)
COUNT = {"kind": "sample.count", "parameters": {"seconds": 0}}


def test_cron_times_after_the_last() -> None:
    last = datetime(2026, 3, 5, 10, 0, tzinfo=UTC)
    slots = due_times({"cron": "*/30 * * * *"}, last=last, now=NOW)
    assert slots == [last + timedelta(minutes=30 * number) for number in range(1, 6)]
    assert due_times({"cron": "10  3 * * *"}, last=NOW - timedelta(days=3), now=NOW) == [
        datetime(2026, 3, 5, 3, 10, tzinfo=UTC)
    ]
    assert due_times({"cron": "0 4 * * mon"}, last=NOW - timedelta(days=9), now=NOW) == []


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 4 1,15 * mon", [1, 2, 9, 15, 16, 23, 30]),  # POSIX crontab: "any day matching either"
        ("0 4 13 3 fri", [6, 13, 20, 27]),
        ("0 4 10-12 * 0", [1, 8, 10, 11, 12, 15, 22, 29]),
        ("0 4 10-12 * 7", [1, 8, 10, 11, 12, 15, 22, 29]),
        ("0 4 1,15 * *", [1, 15]),
        ("0 4 * * MON", [2, 9, 16, 23, 30]),
        ("0 4 */2 * mon", [9, 23]),  # a field that begins with * restricts the other
        ("0 4 13 * */5", [13]),
        ("0 4 13 * 1-5", [2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27, 30, 31]),
    ],
)
def test_days_match_debians_cron(cron: str, days: list[int]) -> None:
    """In March 2026, whose 1st is a Sunday."""
    first = datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
    found = [
        slot
        for day in range(31)
        for slot in due_times({"cron": cron}, last=first + timedelta(days=day), now=first + timedelta(days=day + 1))
    ]
    assert found == [datetime(2026, 3, day, 4, tzinfo=UTC) for day in days]


def test_times_are_utc_across_dst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the hours that a night in Berlin has twice or never, each comes once."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for now in (datetime(2026, 3, 29, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)):
            last = now.astimezone().replace(hour=0, minute=0).astimezone(UTC)
            found = due_times({"cron": "30 * * * *"}, last=last, now=now)
            begin = last.replace(minute=30)
            assert found == [begin + timedelta(hours=number) for number in range(len(found))]
            assert found[-1] == now - timedelta(minutes=30)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_every_gives_round_times() -> None:
    last = NOW.replace(minute=0, second=0)
    slots = due_times({"every": 900}, last=last, now=NOW)
    assert slots == [last + timedelta(minutes=15 * number) for number in (1, 2)]


def test_late_times_are_limited() -> None:
    assert len(due_times({"every": 60}, last=NOW - timedelta(days=9), now=NOW)) == 100
    assert due_times({"every": 60}, last=NOW - timedelta(days=9), now=NOW)[-1] == NOW.replace(second=0)
    assert len(due_times({"every": 3600}, last=NOW - timedelta(days=9), now=NOW)) == 24
    assert len(due_times({"every": 3600}, last=None, now=NOW)) == 1, "what never was is not made up for"


@pytest.mark.django_db(transaction=True)
def test_each_due_time_is_inserted_once(settings: Any) -> None:
    not_at_the_turn(3600)
    settings.JOBS_SCHEDULES = {"often": {**COUNT, "every": 3600}}
    assert sorted(at_once(6, lambda _: schedules_insert())) == [0, 0, 0, 0, 0, 1]
    Job.objects.update(scheduled_for=timezone.now() - timedelta(hours=5))
    assert schedules_insert() in (4, 5)
    assert schedules_insert() == 0
    job = Job.objects.latest("scheduled_for")
    assert (job.kind, job.owner_id, job.parameters, job.sent_at) == ("sample.count", None, {"seconds": 0}, None)


@pytest.mark.django_db
def test_finished_due_time_is_not_repeated(settings: Any) -> None:
    """Neither a kind whose rows go at once nor a retention of no days makes it look missed."""
    not_at_the_turn(86_400)
    settings.JOBS_SCHEDULES = {"daily": {**COUNT, "every": 86_400}}
    settings.RETENTION_JOBS = 0
    assert schedules_insert() == 1
    held = claims.job_claim(claimer=claims.Claimer(queue="default", worker="a", runner="1-1"))
    assert held is not None
    chaining.job_succeed(claim=claims.Claim(held.pk, held.fence), result=None, keep=False)
    Job.objects.update(finished_at=Now() - timedelta(hours=1))
    [retention] = [one for one in retentions() if one.name == "jobs"]
    assert list(retention.prune(now=timezone.now())) == []
    assert schedules_insert() == 0
    Job.objects.update(scheduled_for=Now() - timedelta(days=3))
    assert list(retention.prune(now=timezone.now())) == [1]


@pytest.mark.django_db
def test_prune_is_scheduled(settings: Any) -> None:
    settings.JOBS_SCHEDULES = {"prune": settings.JOBS_SCHEDULES["prune"]}  # others are the team's
    assert settings.JOBS_SCHEDULES["prune"]["kind"] == "operations.prune"
    old = Job.objects.create(kind="sample.count", state="cancelled", finished_at=timezone.now() - timedelta(days=99))
    assert schedules_insert() == 1
    job = Job.objects.get(schedule="prune")
    job_run(str(job.pk))
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert job.result["removed"]["jobs"] == 1
    assert not Job.objects.filter(pk=old.pk).exists()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "no.such", "every": 60}, "unknown job kind 'no.such'"),
        ({**COUNT, "cron": "61 * * * *"}, "invalid time"),
        ({**COUNT, "cron": "* * * *"}, "invalid time"),
        ({**COUNT, "cron": "0 * * * * *"}, "5 fields"),
        ({**COUNT, "cron": "*/0 * * * *"}, "invalid time"),
        ({**COUNT, "cron": "nonsense"}, "invalid time"),
        ({**COUNT, "cron": None}, "invalid time"),
        ({**COUNT, "cron": "0 0 31 2 *"}, "invalid time"),
        ({**COUNT, "every": 0}, "invalid time"),
        ({**COUNT, "every": 60, "cron": "* * * * *"}, "either"),
        (COUNT, "either"),
        ({**COUNT, "every": 60, "at": "noon"}, "unknown entry at"),
        ({"kind": "sample.count", "every": 60, "parameters": {"seconds": -1}}, "parameters"),
    ],
)
def test_invalid_schedule_is_an_error(settings: Any, entry: dict[str, Any], says: str) -> None:
    settings.JOBS_SCHEDULES = {"broken": entry}
    [error] = check_schedules()
    assert error.id == "jobs.E002"
    assert says in error.msg
    with pytest.raises(SystemCheckError, match=r"jobs\.E002"):
        call_command("check")


def test_unserved_queue_is_an_error(settings: Any) -> None:
    assert check_queues() == []
    settings.CELERY_TASK_QUEUES = [queue for queue in settings.CELERY_TASK_QUEUES if queue.name != "mail"]
    errors = check_queues()
    assert {error.id for error in errors} == {"jobs.E001"}
    assert any("accounts.mail" in error.msg for error in errors)
    with pytest.raises(SystemCheckError, match=r"jobs\.E001"):
        call_command("check")
