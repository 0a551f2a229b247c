"""Fair queueing: owners alternate, and delayed jobs block nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.services import claims, job_retry, job_submit, outcomes
from apps.jobs.services.relay import jobs_relay
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no message: it would wake the worker of a later test."""
    monkeypatch.setattr("apps.jobs.services.relay.depth", lambda **_: 0)
    monkeypatch.setattr("apps.jobs.services.relay.publish", lambda **_: True)


def submit(owner: Any, count: int = 1, **options: Any) -> list[Job]:
    return [job_submit(kind="sample.count", owner=owner, parameters={"seconds": 0}, **options) for _ in range(count)]


def claimed(count: int) -> list[Job]:
    """Claim ``count`` jobs, each with its own worker, and return them in order."""
    claimers = [claims.Claimer(queue="default", worker=f"w{number}", runner="1-1") for number in range(count)]
    found = [claims.job_claim(claimer=claimer) for claimer in claimers]
    return [job for job in found if job is not None]


def test_owners_alternate() -> None:
    many, few = user_create(), user_create()
    submit(many, 50)
    submit(few, 3)
    owners = [job.owner_id for job in claimed(8)]
    assert owners == [many.pk, few.pk] * 3 + [many.pk, many.pk]


def test_idle_owner_gains_no_advantage() -> None:
    there, back = user_create(), user_create()
    submit(there, 30)
    claimed(20)
    submit(back, 10)
    owners = [job.owner_id for job in claimed(10)]
    assert owners.count(back.pk) == 5


def test_kinds_of_the_service_count_as_owners() -> None:
    Job.objects.bulk_create(Job(kind="other.kind", start_tag=number) for number in range(1, 40))
    [job] = submit(None)
    assert job.start_tag == 1


def test_queue_head_ignores_quarantined_and_other_queues() -> None:
    there, back = user_create(), user_create()
    Job.objects.create(kind="sample.count", owner=there, start_tag=2, quarantined=True)
    Job.objects.create(kind="sample.count", owner=there, start_tag=1, queue="mail")
    Job.objects.create(kind="sample.count", owner=back, start_tag=90, queue="mail")
    Job.objects.create(kind="sample.count", owner=there, start_tag=40)
    [job] = submit(back)
    assert job.start_tag == 40


def test_scheduled_job_gets_its_start_tag_when_due() -> None:
    owner, other = user_create(), user_create()
    [later] = submit(owner, run_at=timezone.now() + timedelta(hours=1))
    assert (later.state, later.sent_at, later.start_tag) == ("scheduled", None, 0)
    submit(other, 5)
    claimed(3)
    [now] = submit(owner)
    assert now.start_tag == 4, "level with the next job of others, ignoring the scheduled one"
    assert jobs_relay() == 0
    assert later.pk not in {job.pk for job in claimed(20)}

    Job.objects.filter(pk=later.pk).update(run_at=timezone.now() - timedelta(seconds=1))
    assert claimed(1) == [], "the relay has not queued it yet"
    assert jobs_relay() == 1
    [job] = claimed(1)
    assert (job.pk, job.start_tag) == (later.pk, 1)


def test_retryable_job_keeps_its_start_tag() -> None:
    owner, other = user_create(), user_create()
    submit(other, 10)
    claimed(5)
    submit(owner)
    job = next(job for job in claimed(2) if job.owner_id == owner.pk)
    start_tag = job.start_tag
    outcomes.job_fail(claim=claims.Claim(job.pk, job.fence), error="once")
    Job.objects.filter(pk=job.pk).update(run_at=timezone.now() - timedelta(seconds=1))
    jobs_relay()
    job.refresh_from_db()
    assert (job.state, job.start_tag) == ("queued", start_tag)

    Job.objects.filter(pk=job.pk).update(state="discarded", finished_at=timezone.now())
    submit(owner, 2)
    assert job_retry(job_id=job.pk, owner_id=owner.pk).start_tag == start_tag + 3


def test_claim_reads_the_head_of_an_index() -> None:
    owner = user_create()
    soon = timezone.now() + timedelta(hours=1)
    waiting = ({"start_tag": number} for number in range(1, 2001))
    put_off = ({"state": "retryable", "start_tag": number, "run_at": soon} for number in range(2000))
    for columns in (waiting, put_off):
        Job.objects.bulk_create(Job(kind="sample.count", owner=owner, **one) for one in columns)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")
        queued = Job.objects.filter(state="queued", queue="default")
        plan = queued.order_by("start_tag", "id")[:1].explain(analyze=True, buffers=True)
    assert "jobs_start_tag" in plan
    assert "Removed by Filter" not in plan
