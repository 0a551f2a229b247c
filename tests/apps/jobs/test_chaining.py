"""Chaining: the end of a job claims the next one, by the rules of every claim, for a limited time for each message."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from mmap import mmap
from typing import Any

import pytest
import structlog
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from apps.jobs import processes, tasks
from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.jobs.models import Job, JobChunk
from apps.jobs.services import chaining, claims, isolation
from apps.jobs.services.files import upload_store
from apps.jobs.tasks import job_run
from apps.practices.validation.serializers import StrictSerializer
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
HERE = claims.Claimer(queue="default", worker="here", runner="1-1")
contexts: list[dict[str, Any]] = []


class NothingSerializer(StrictSerializer):
    """No parameters."""


@JobKind("going.on", serializer=NothingSerializer)
def record_context(context: JobContext) -> None:
    contexts.append(structlog.contextvars.get_contextvars())


@pytest.fixture(autouse=True)
def patient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bound is met by chance: this process is large, and the machine may be busy."""
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = 1 << 40
    monkeypatch.setattr(tasks, "CHAIN_SECONDS", 60)
    contexts.clear()


def take() -> claims.Claim:
    job = claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1"))
    assert job is not None
    return claims.Claim(job.pk, job.fence, job.owner_id)


def stored(job: Job) -> Job:
    job.refresh_from_db()
    return job


def test_success_claims_the_next_job(job_make: Make, django_assert_num_queries: Any) -> None:
    first, second = job_make(), job_make(start_tag=1, fence=4, attempts=2, stop="release", heartbeat_at=None)
    upload_store(job_id=first.pk, blocks=[b"rows"])
    upload_store(job_id=second.pk, blocks=[b"rows"])
    claim = take()
    with django_assert_num_queries(1):
        following = chaining.job_succeed(claim=claim, result={"rows": 1}, claimer=HERE)
    assert (stored(first).state, first.result, first.leased_until) == ("succeeded", {"rows": 1}, None)
    assert list(JobChunk.objects.values_list("job_id", flat=True)) == [second.pk]
    assert following == second
    assert following.parameters == {"seconds": 0}
    assert (stored(second).state, second.fence, second.attempts, second.stop) == ("running", 5, 3, "")
    assert (second.worker, second.runner, second.isolated) == ("here", "1-1", False)
    left = (second.leased_until - timezone.now()).total_seconds()
    assert 5 < left <= 10.5
    assert second.started_at == second.heartbeat_at


def test_chained_owners_alternate(job_make: Make) -> None:
    few = user_create()
    many = [job_make(start_tag=tag) for tag in range(1, 6)]
    others = [job_make(owner=few, start_tag=tag) for tag in (1, 2)]
    job = claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1"))
    done = []
    while job is not None:
        done.append(job)
        job = chaining.job_succeed(claim=claims.Claim(job.pk, job.fence, job.owner_id), result=None, claimer=HERE)
        job = job or claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1"))
    assert done == [many[0], others[0], many[1], others[1], *many[2:]]


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "scheduled"},
        {"state": "retryable"},
        {"queue": "mail"},
        {"state": "cancelled", "finished_at": timezone.now()},
        {"quarantined": True},
    ],
    ids=str,
)
def test_chaining_claims_only_claimable_jobs(job_make: Make, columns: dict[str, Any]) -> None:
    claim = take() if job_make() else None
    other = job_make(**columns)
    assert claim is not None
    assert chaining.job_succeed(claim=claim, result=None, claimer=HERE) is None
    assert stored(other).fence == 0


def test_chaining_stops_for_an_overdue_quarantined_job(job_make: Make) -> None:
    """It goes last; and where the worker went on even then, it would never be idle, and never take it."""
    job_make()
    claim, quarantined_job = take(), job_make(quarantined=True, start_tag=1)
    healthy, other = job_make(start_tag=2), job_make(start_tag=3)
    assert chaining.job_succeed(claim=claim, result=None, claimer=HERE) == healthy
    Job.objects.filter(pk=quarantined_job.pk).update(run_at=timezone.now() - isolation.PATIENCE)
    claim = claims.Claim(healthy.pk, stored(healthy).fence, healthy.owner_id)
    assert chaining.job_succeed(claim=claim, result=None, claimer=HERE) is None
    assert {stored(quarantined_job).state, stored(other).state} == {"queued"}


def test_isolated_job_chains_nothing(job_make: Make) -> None:
    """Its worker's other processes stand by: what may be taken now is said under their lock."""
    quarantined_job = job_make(quarantined=True)
    claim, other = take(), job_make()
    assert chaining.job_succeed(claim=claim, result=None, claimer=HERE) is None
    assert (stored(quarantined_job).state, quarantined_job.quarantined, stored(other).state) == (
        "succeeded",
        False,
        "queued",
    )


@pytest.mark.parametrize("columns", [{"fence": 7}, {"state": "cancelled", "finished_at": timezone.now()}])
def test_lost_claim_chains_nothing(job_make: Make, columns: dict[str, Any]) -> None:
    lost, other = job_make(), job_make(start_tag=1)
    upload_store(job_id=lost.pk, blocks=[b"rows"])
    claim = take()
    gone = {"leased_until": None} if "state" in columns else {}
    Job.objects.filter(pk=lost.pk).update(**columns, **gone)
    with pytest.raises(claims.ClaimLost):
        chaining.job_succeed(claim=claim, result={"late": True}, claimer=HERE)
    assert stored(lost).result is None
    assert JobChunk.objects.exists()
    assert (stored(other).state, other.fence) == ("queued", 0)


@pytest.mark.django_db(transaction=True)
def test_chaining_skips_locked_rows(job_make: Make) -> None:
    jobs = [job_make(start_tag=tag) for tag in range(3)]
    claim = take()
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=jobs[1].pk)
            locked.set()
            go_on.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(30)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        assert chaining.job_succeed(claim=claim, result=None, claimer=HERE) == jobs[2]
    finally:
        go_on.set()
        thread.join(30)
        connection.close()


def test_one_message_runs_all_queued_jobs(job_make: Make) -> None:
    jobs = [job_make(kind="going.on", parameters={}, start_tag=tag, request_id=f"request-{tag}") for tag in range(3)]
    jobs.append(job_make(kind="going.on", parameters={}, start_tag=3))
    job_run(str(jobs[0].pk))
    assert {stored(job).state for job in jobs} == {"succeeded"}
    assert [(seen["job_id"], seen.get("request_id")) for seen in contexts] == [
        *((str(job.pk), f"request-{tag}") for tag, job in enumerate(jobs[:3])),
        (str(jobs[3].pk), None),
    ]
    assert "job_id" not in structlog.contextvars.get_contextvars()


def _time_is_up(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(tasks, "CHAIN_SECONDS", 0)


def _memory_was_large(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = 1024


def _worker_stops(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(processes, "_STOPPING", mmap(-1, 1))
    monkeypatch.setattr("tests.apps.jobs.test_chaining.during", processes.stopping_set)


def _worker_dies(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    def orphaned() -> None:
        monkeypatch.setattr(os, "getppid", os.getpid)  # not its parent, whichever that is

    monkeypatch.setattr("tests.apps.jobs.test_chaining.during", orphaned)


def during() -> None:
    """Do nothing; a test replaces it with what happens while the job runs."""


@JobKind("going.through", serializer=NothingSerializer)
def goes_through(context: JobContext) -> None:
    during()


@pytest.mark.parametrize("why", [_time_is_up, _memory_was_large, _worker_stops, _worker_dies])
def test_chaining_ends_with_the_process(
    job_make: Make, monkeypatch: pytest.MonkeyPatch, settings: Any, why: Callable[..., None]
) -> None:
    first, second = (job_make(kind="going.through", parameters={}, start_tag=tag) for tag in range(2))
    why(monkeypatch, settings)
    job_run(str(first.pk))
    assert (stored(first).state, stored(second).state, second.attempts) == ("succeeded", "queued", 0)


@pytest.mark.django_db(transaction=True)
def test_claim_with_a_lost_answer_is_released(job_make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process lives, so its lease would be renewed for ever."""
    first, second, done = (job_make(kind="going.on", parameters={}, start_tag=tag) for tag in range(3))
    Job.objects.filter(pk=done.pk).update(state="succeeded", finished_at=timezone.now())
    whole = chaining.job_succeed
    monkeypatch.setattr(tasks.time, "sleep", lambda seconds: None)
    failures = iter([True])

    def cut(**options: Any) -> Job | None:
        following = whole(**options)
        if next(failures, False):
            raise OperationalError("server closed the connection unexpectedly")
        return following

    monkeypatch.setattr(chaining, "job_succeed", cut)
    job_run(str(first.pk))
    assert stored(first).state == "succeeded"
    assert (stored(second).state, second.attempts, second.sent_at) == ("queued", 0, None)


@pytest.mark.django_db(transaction=True)
def test_new_connection_releases_orphaned_claims(job_make: Make) -> None:
    forgotten = job_make(kind="going.on", parameters={}, start_tag=1)
    me = {"worker": processes.worker_identity(), "runner": processes.runner_identity()}
    assert claims.job_claim(claimer=claims.Claimer(queue="default", **me)) == forgotten
    concurrent = job_make(kind="going.on", parameters={}, start_tag=2)
    assert claims.job_claim(claimer=claims.Claimer(queue="default", worker=me["worker"], runner="1-1")) == concurrent
    connection.close()
    job_run.apply([str(forgotten.pk)], routing_key="default", throw=True)
    assert (stored(forgotten).state, forgotten.attempts, forgotten.fence) == ("succeeded", 1, 2)
    assert stored(concurrent).state == "running"
