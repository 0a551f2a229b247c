"""Claims: one claimer, fencing, leases, and the ways in which an attempt ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.jobs.context import JobContext
from apps.jobs.models import Job, JobChunk
from apps.jobs.services import chaining, claims, leases, outcomes
from apps.jobs.services.bulk import jobs_cancel
from apps.jobs.services.files import result_append, upload_store
from apps.jobs.services.pausing import queue_pause, queue_resume
from apps.jobs.services.submission import job_cancel
from tests.apps.accounts.factories import user_create
from tests.apps.jobs.test_bulk import row_lock_is_awaited
from tests.processes import wait_until
from tests.races import at_once
from tests.sample.models import Effect

Make = Callable[..., Job]


def claim(job: Job) -> claims.Claim:
    taken = claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1"))
    assert taken is not None
    return claims.Claim(taken.pk, taken.fence)


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))


def bring_forward(job: Job) -> None:
    """Queue the job, as the relay does when its pause is over."""
    Job.objects.filter(pk=job.pk).update(state="queued", run_at=timezone.now() - timedelta(seconds=1))


def take_effect(held: claims.Claim) -> None:
    with claims.fenced(held) as columns:
        Effect.objects.create(job_id=held.job_id)
        columns["progress_done"] = 7


def stored(job: Job) -> Job:
    job.refresh_from_db()
    return job


@pytest.mark.django_db(transaction=True)
def test_one_of_many_claimers_gets_the_job(job_make: Make) -> None:
    job = job_make()
    claimer = claims.Claimer(queue="default", worker="here", runner="1-1")
    claimed = at_once(8, lambda _: claims.job_claim(claimer=claimer))
    assert sum(one is not None for one in claimed) == 1
    assert (stored(job).fence, job.attempts) == (1, 1)


@pytest.mark.parametrize(
    "columns", [{"state": "scheduled"}, {"state": "retryable"}, {"state": "cancelled", "finished_at": timezone.now()}]
)
def test_only_queued_jobs_are_claimed(job_make: Make, columns: dict[str, Any]) -> None:
    job_make(**columns)
    assert claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1")) is None


def test_jobs_of_a_paused_queue_wait(job_make: Make) -> None:
    first, second, mail = job_make(), job_make(owner=user_create()), job_make(queue="mail")
    held = claim(first)
    queue_pause(queue="default", by="a test")
    claimer = claims.Claimer(queue="default", worker="here", runner="1-1")
    assert chaining.job_succeed(claim=held, result={}, claimer=claimer) is None, (
        "a running job ends, and claims no other"
    )
    assert stored(first).state == "succeeded"
    assert claims.job_claim(claimer=claimer) is None
    assert claims.job_claim(claimer=claims.Claimer(queue="mail", worker="here", runner="1-2")) == mail
    assert (stored(second).state, second.attempts) == ("queued", 0)
    assert queue_resume(queue="default", by="a test")
    assert claims.job_claim(claimer=claimer) == second


def test_lost_claim_writes_nothing(job_make: Make) -> None:
    job = job_make()
    first = claim(job)
    expire(job)
    assert outcomes.leases_reap() == 1
    bring_forward(job)
    second = claim(job)
    assert second.fence == first.fence + 1

    with pytest.raises(claims.ClaimLost):
        take_effect(first)
    with pytest.raises(claims.ClaimLost):
        chaining.job_succeed(claim=first, result={})
    with pytest.raises(claims.ClaimLost):
        claims.job_progress(claim=first, columns={"progress_done": 7})
    with pytest.raises(claims.ClaimLost):
        outcomes.job_fail(claim=first, error="late")
    assert Effect.objects.count() == 0
    assert (stored(job).progress_done, job.state) == (0, "running")

    take_effect(second)
    chaining.job_succeed(claim=second, result={"done": True})
    assert Effect.objects.count() == 1
    assert (stored(job).state, job.result) == ("succeeded", {"done": True})


def test_renewed_lease_is_not_reaped(job_make: Make) -> None:
    job = job_make()
    held = claim(job)
    expire(job)
    leases.claims_renew(worker="here", claims=[held])
    assert outcomes.leases_reap() == 0
    assert stored(job).state == "running"


def test_only_named_claims_are_renewed(job_make: Make) -> None:
    living, dead = job_make(), job_make()
    held = [claim(living), claim(dead)][0]
    expire(living)
    expire(dead)
    leases.claims_renew(worker="here", claims=[held])
    assert stored(living).leased_until > timezone.now()
    assert stored(dead).leased_until < timezone.now()


def test_one_process_is_kept_for_the_reserved_queue(job_make: Make) -> None:
    for queue in ("default", "default", "mail"):
        job_make(queue=queue)
    assert (
        claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1", unreserved_limit=1))
        is not None
    )
    assert (
        claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="2-2", unreserved_limit=1))
        is None
    )
    assert (
        claims.job_claim(claimer=claims.Claimer(queue="mail", worker="here", runner="2-2", unreserved_limit=1))
        is not None
    )
    assert (
        claims.job_claim(claimer=claims.Claimer(queue="default", worker="there", runner="3-3", unreserved_limit=1))
        is not None
    )


def test_surplus_message_costs_one_query(job_make: Make, django_assert_num_queries: Any) -> None:
    job_make(queue="mail")
    with django_assert_num_queries(1):
        assert claims.job_claim(claimer=claims.Claimer(queue="default", worker="here", runner="1-1")) is None


def test_backoff_grows_until_the_job_is_discarded(job_make: Make, settings: Any) -> None:
    settings.JOBS_BACKOFF_SECONDS = 60
    job = job_make()
    pauses, states = [], []
    for attempt in range(1, 6):
        bring_forward(job)
        outcomes.job_fail(claim=claim(job), error=f"attempt {attempt} went wrong")
        states.append(stored(job).state)
        pauses.append((job.run_at - timezone.now()).total_seconds())
    assert states == ["retryable"] * 4 + ["discarded"]
    assert pauses[1] > 55
    assert pauses[3] > 4 * 55
    assert (job.state, job.attempts) == ("discarded", 5)
    assert job.problem["type"].endswith("/problems/attempts-exhausted")
    assert "went wrong" not in str(job.problem)
    assert job.error == "attempt 5 went wrong"


def test_release_does_not_count_the_attempt(job_make: Make) -> None:
    job = job_make()
    outcomes.job_release(claim=claim(job))
    assert (stored(job).state, job.attempts, job.sent_at) == ("queued", 0, None)


def test_job_without_keep_is_deleted_with_its_files(job_make: Make) -> None:
    gone, kept = job_make(), job_make()
    upload_store(job_id=gone.pk, blocks=[b"rows"])
    lost = claim(gone)
    expire(gone)
    outcomes.leases_reap()
    with pytest.raises(claims.ClaimLost):
        chaining.job_succeed(claim=lost, result=None, keep=False)
    bring_forward(gone)
    chaining.job_succeed(claim=claim(gone), result=None, keep=False)
    chaining.job_succeed(claim=claim(kept), result=None)
    assert set(Job.objects.values_list("pk", flat=True)) == {kept.pk}
    assert not JobChunk.objects.exists()


ENDS: dict[str, Callable[[claims.Claim], object]] = {
    "at a checkpoint": lambda held: outcomes.job_stop(claim=held),
    "given back by a worker that stops": lambda held: outcomes.job_release(claim=held),
    "failed": lambda held: outcomes.job_fail(claim=held, error="boom"),
    "its process died": lambda held: outcomes.claim_abandon(claim=held, error="boom"),
    "its worker fell silent": lambda held: outcomes.leases_reap(),
}


@pytest.mark.parametrize("end", ENDS)
def test_cancelled_running_job_loses_its_files(job_make: Make, end: str) -> None:
    job = job_make()
    upload_store(job_id=job.pk, blocks=[b"rows"])
    held = claim(job)
    result_append(job_id=job.pk, data=b"half")
    assert job.owner_id is not None
    assert job_cancel(job_id=job.pk, owner_id=job.owner_id).state == "running"
    expire(job)
    ENDS[end](held)
    assert (stored(job).state, job.stop, JobChunk.objects.count()) == ("cancelled", "", 0)


def test_cancelled_waiting_job_loses_its_files(job_make: Make) -> None:
    jobs = job_make(), job_make()
    for job in jobs:
        upload_store(job_id=job.pk, blocks=[b"rows"])
        result_append(job_id=job.pk, data=b"half, of an earlier attempt")
    assert jobs[0].owner_id is not None
    job_cancel(job_id=jobs[0].pk, owner_id=jobs[0].owner_id)
    list(jobs_cancel(jobs=Job.objects.filter(pk=jobs[1].pk), by="test"))
    assert [(stored(job).state, JobChunk.objects.count()) for job in jobs] == [("cancelled", 0)] * 2


FILES_GO: dict[str, Callable[[Job], object]] = {
    "cancelled at a checkpoint": lambda job: outcomes.job_stop(claim=claims.Claim(job.pk, job.fence)),
    "given back": lambda job: outcomes.job_release(claim=claims.Claim(job.pk, job.fence)),
    "failed": lambda job: outcomes.job_fail(claim=claims.Claim(job.pk, job.fence), error="boom"),
    "started again": lambda job: JobContext(job).result_file(name="all.csv", content_type="text/csv"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", FILES_GO)
def test_job_is_locked_before_its_files(job_make: Make, way: str) -> None:
    """Otherwise it could deadlock with a purge, which locks the job first."""
    job = job_make(state="running", fence=1, stop="cancel", leased_until=timezone.now() + timedelta(hours=1))
    result_append(job_id=job.pk, data=b"half")
    lost: list[claims.ClaimLost] = []

    def work() -> None:
        try:
            FILES_GO[way](job)
        except claims.ClaimLost as error:
            lost.append(error)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)
        worker.start()
        wait_until(row_lock_is_awaited, seconds=10, what="the worker to wait")
        job.delete()
    worker.join(30)
    assert not Job.objects.exists()
    assert not JobChunk.objects.exists()
    assert lost
