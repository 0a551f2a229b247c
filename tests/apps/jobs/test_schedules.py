"""What is due by itself: each due time once, however many look, and late when nobody looked."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from apps.jobs.checks import check_queues, check_schedules
from apps.jobs.models import Job
from apps.jobs.services import claims
from apps.jobs.services.schedules import schedules_insert, slots_due
from apps.jobs.tasks import job_run
from apps.practices.database.retention import retentions
from tests.clocks import not_at_the_turn

NOW = datetime(2026, 3, 5, 12, 34, 56, tzinfo=UTC)
COUNT = {"kind": "sample.count", "parameters": {"seconds": 0}}


def test_cron_gives_its_times_after_the_last_that_is_queued() -> None:
    last = datetime(2026, 3, 5, 10, 0, tzinfo=UTC)
    slots = slots_due({"cron": "*/30 * * * *"}, last=last, now=NOW)
    assert slots == [last + timedelta(minutes=30 * number) for number in range(1, 6)]
    assert slots_due({"cron": "10  3 * * *"}, last=NOW - timedelta(days=3), now=NOW) == [
        datetime(2026, 3, 5, 3, 10, tzinfo=UTC)
    ]
    assert slots_due({"cron": "0 4 * * mon"}, last=NOW - timedelta(days=9), now=NOW) == []


def test_every_gives_round_times() -> None:
    last = NOW.replace(minute=0, second=0)
    slots = slots_due({"every": 900}, last=last, now=NOW)
    assert slots == [last + timedelta(minutes=15 * number) for number in (1, 2)]


def test_what_is_late_is_bounded() -> None:
    assert len(slots_due({"every": 60}, last=NOW - timedelta(days=9), now=NOW)) == 100
    assert slots_due({"every": 60}, last=NOW - timedelta(days=9), now=NOW)[-1] == NOW.replace(second=0)
    assert len(slots_due({"every": 3600}, last=NOW - timedelta(days=9), now=NOW)) == 24
    assert len(slots_due({"every": 3600}, last=None, now=NOW)) == 1, "what never was is not made up for"


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_inserts_each_due_time(settings: Any) -> None:
    not_at_the_turn(3600)
    settings.JOBS_SCHEDULES = {"often": {**COUNT, "every": 3600}}
    barrier = threading.Barrier(6)
    counts = []

    def insert() -> None:
        barrier.wait(30)
        counts.append(schedules_insert())
        connection.close()

    threads = [threading.Thread(target=insert) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counts) == [0, 0, 0, 0, 0, 1]
    Job.objects.update(slot=timezone.now() - timedelta(hours=5))
    assert schedules_insert() in (4, 5)
    assert schedules_insert() == 0
    job = Job.objects.latest("slot")
    assert (job.kind, job.owner_id, job.parameters, job.sent_at) == ("sample.count", None, {"seconds": 0}, None)


@pytest.mark.django_db
def test_a_due_time_that_is_done_is_not_done_again(settings: Any) -> None:
    """Neither a kind whose rows go at once nor a retention of no days makes it look missed."""
    not_at_the_turn(86_400)
    settings.JOBS_SCHEDULES = {"daily": {**COUNT, "every": 86_400}}
    settings.RETENTION_JOBS = 0
    assert schedules_insert() == 1
    held = claims.job_claim(queue="default", worker="a", runner="1-1")
    assert held is not None
    claims.job_succeed(claim=claims.Claim(held.pk, held.fence), result=None, keep=False)
    Job.objects.update(finished_at=Now() - timedelta(hours=1))
    [retention] = [one for one in retentions() if one.name == "jobs"]
    assert list(retention.prune(now=timezone.now())) == []
    assert schedules_insert() == 0
    Job.objects.update(slot=Now() - timedelta(days=3))
    assert list(retention.prune(now=timezone.now())) == [1]


@pytest.mark.django_db
def test_the_service_prunes_itself_daily(settings: Any) -> None:
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
        ({"kind": "no.such", "every": 60}, "no kind of job 'no.such'"),
        ({**COUNT, "cron": "61 * * * *"}, "time cannot be read"),
        ({**COUNT, "cron": "* * * *"}, "time cannot be read"),
        ({**COUNT, "cron": "0 0 31 2 *"}, "time cannot be read"),
        ({**COUNT, "every": 0}, "time cannot be read"),
        ({**COUNT, "every": 60, "cron": "* * * * *"}, "either"),
        (COUNT, "either"),
        ({**COUNT, "every": 60, "at": "noon"}, "at, which means nothing"),
        ({"kind": "sample.count", "every": 60, "parameters": {"seconds": -1}}, "parameters"),
    ],
)
def test_a_schedule_that_cannot_be_used_is_an_error(settings: Any, entry: dict[str, Any], says: str) -> None:
    settings.JOBS_SCHEDULES = {"broken": entry}
    [error] = check_schedules()
    assert error.id == "jobs.E002"
    assert says in error.msg
    with pytest.raises(SystemCheckError, match=r"jobs\.E002"):
        call_command("check")


def test_a_kind_whose_queue_nobody_serves_is_an_error(settings: Any) -> None:
    assert check_queues() == []
    settings.CELERY_TASK_QUEUES = [queue for queue in settings.CELERY_TASK_QUEUES if queue.name != "mail"]
    [error] = check_queues()
    assert error.id == "jobs.E001"
    assert "accounts.mail" in error.msg
    with pytest.raises(SystemCheckError, match=r"jobs\.E001"):
        call_command("check")
