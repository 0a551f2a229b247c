"""Failed attempts: which job is charged for a crash, quarantine and isolation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.jobs.context import JobContext
from apps.jobs.models import Job
from apps.jobs.services import chaining, claims, isolation, outcomes

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
AGO = timedelta(seconds=1)


def take(worker: str = "a", **options: Any) -> Job | None:
    return claims.job_claim(claimer=claims.Claimer(queue="default", worker=worker, runner="1-1", **options))


def silent(worker: str) -> int:
    """Expire the worker's leases, and reap."""
    Job.objects.filter(state="running", worker=worker).update(leased_until=timezone.now() - AGO)
    return outcomes.leases_reap()


def bring_forward() -> None:
    Job.objects.filter(state__in=("queued", "retryable")).update(
        state="queued", run_at=timezone.now() - AGO, start_tag=0
    )


def stored(job: Job) -> Job:
    job.refresh_from_db()
    return job


def test_jobs_of_a_dead_worker_are_quarantined(job_make: Make) -> None:
    jobs = [job_make() for _ in range(3)]
    assert [take() for _ in jobs] == jobs
    assert silent("a") == 3
    assert {(stored(job).state, job.attempts, job.quarantined) for job in jobs} == {("queued", 0, True)}


def test_unexpired_jobs_of_a_dead_worker_are_quarantined(job_make: Make) -> None:
    first, second = job_make(), job_make()
    take(), take()
    Job.objects.filter(pk=first.pk).update(leased_until=timezone.now() - AGO)
    assert outcomes.leases_reap() == 1
    assert (stored(first).state, first.attempts, first.quarantined) == ("queued", 0, True)
    assert (stored(second).state, second.quarantined) == ("running", True)
    assert silent("a") == 1
    assert (stored(second).state, second.attempts, second.quarantined) == ("queued", 0, True)


def test_isolated_crashes_are_charged_until_discarded(job_make: Make) -> None:
    poison, healthy = job_make(), job_make()
    take(), take()
    silent("a")
    deaths = 0
    while stored(poison).state != "discarded":
        bring_forward()
        worker = f"w{deaths}"
        assert take(worker) == poison
        assert stored(poison).isolated
        silent(worker)
        deaths += 1
        assert deaths <= 5
    assert (poison.state, poison.attempts, deaths) == ("discarded", 5, 5)
    assert (stored(healthy).state, healthy.attempts) == ("queued", 0)
    bring_forward()
    held = take("z")
    assert held == healthy
    chaining.job_succeed(claim=claims.Claim(healthy.pk, held.fence), result=None)
    assert (stored(healthy).state, healthy.quarantined) == ("succeeded", False)


def test_quarantined_job_runs_isolated(job_make: Make) -> None:
    quarantined = job_make(quarantined=True)
    assert take("a") == quarantined
    other = job_make()
    with pytest.raises(isolation.WorkerIsolated):
        take("a")
    assert take("b") == other
    job_make(quarantined=True)
    assert take("b") is None, "a busy worker takes no quarantined job"


def test_overdue_quarantined_job_gets_one_idle_worker(job_make: Make) -> None:
    running, quarantined, healthy = job_make(), job_make(quarantined=True, start_tag=1), job_make(start_tag=2)
    assert take("a") == running
    other = job_make(start_tag=3)
    assert take("b") == healthy, "healthy jobs go first"
    assert take("b") == other
    assert take("c") == quarantined
    outcomes.job_release(claim=claims.Claim(quarantined.pk, stored(quarantined).fence))

    Job.objects.filter(pk=quarantined.pk).update(run_at=timezone.now() - isolation.PATIENCE)
    with pytest.raises(isolation.WorkerIsolated):
        take("a")
    late = job_make(start_tag=0)
    assert take("b") == late, "one worker becomes idle for it; the others go on"
    for done in (running, healthy, other, late):
        outcomes.job_release(claim=claims.Claim(done.pk, stored(done).fence))
    Job.objects.exclude(pk=quarantined.pk).filter(state="queued").update(start_tag=0)
    assert take("a") == quarantined, "an idle worker takes it first"
    assert stored(other).state == "queued"


def test_overdue_quarantined_job_goes_first(job_make: Make) -> None:
    job_make(quarantined=True, start_tag=0)
    impatient = job_make(quarantined=True, start_tag=1, run_at=timezone.now() - isolation.PATIENCE)
    assert take("a") == impatient


def test_only_a_live_worker_of_the_queue_becomes_idle(job_make: Make) -> None:
    """It is the first by name; others would become idle in vain."""
    running = {"state": "running", "leased_until": timezone.now() + timedelta(minutes=1)}
    job_make(worker="a", **(running | {"leased_until": timezone.now() - AGO}))
    job_make(worker="b", queue="mail", **running)
    job_make(worker="c", **running)
    job_make(quarantined=True, run_at=timezone.now() - isolation.PATIENCE)
    healthy = [job_make(), job_make()]
    assert take("b") in healthy
    Job.objects.filter(worker="b", queue="default").update(worker="d")
    with pytest.raises(isolation.WorkerIsolated):
        take("c")


@pytest.mark.django_db(transaction=True)
def test_claims_of_one_worker_are_serialized(job_make: Make) -> None:
    """Otherwise both would see an idle worker, and one would claim the quarantined job, the other a concurrent one."""
    quarantined, healthy = job_make(quarantined=True, run_at=timezone.now() - isolation.PATIENCE), job_make()
    taken, go_on = threading.Event(), threading.Event()
    outcomes: list[Any] = []

    def first() -> None:
        with transaction.atomic():
            outcomes.append(take("a"))
            taken.set()
            go_on.wait(30)
        connection.close()

    def second() -> None:
        try:
            outcomes.append(take("a"))
        except isolation.WorkerIsolated:
            outcomes.append("reserved")
        connection.close()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert taken.wait(30)
    threads[1].start()
    threads[1].join(1)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert outcomes == [quarantined, "reserved"]
    assert stored(healthy).state == "queued"


@pytest.mark.django_db(transaction=True)
def test_reapers_are_serialized(job_make: Make) -> None:
    """Otherwise each would see one of the two jobs, and charge it."""
    jobs = [job_make(), job_make()]
    take(), take()
    Job.objects.filter(state="running").update(leased_until=timezone.now() - AGO)
    at_work, go_on = threading.Event(), threading.Event()

    def reap() -> None:
        """Hold the lock of a reaper that has not locked any row yet."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('jobs reaper', 0))")
            at_work.set()
            go_on.wait(30)
        connection.close()

    thread = threading.Thread(target=reap)
    thread.start()
    assert at_work.wait(30)
    try:
        assert outcomes.leases_reap() == 0
    finally:
        go_on.set()
        thread.join(30)
    outcomes.leases_reap()
    assert {(stored(job).state, job.attempts, job.quarantined) for job in jobs} == {("queued", 0, True)}


def test_step_clears_the_progress_message(job_make: Make) -> None:
    job = job_make()
    held = take()
    assert held is not None
    context = JobContext(held)
    context.progress(done=0, message="reading line 1001")
    assert stored(job).progress_message == "reading line 1001"
    with context.step() as batch:
        batch.save(checkpoint=1, done=1)
    assert stored(job).progress_message == ""


def test_new_checkpoint_resets_attempts(job_make: Make) -> None:
    job = job_make(attempts=3)

    def step(place: Any) -> int:
        context = JobContext(held)
        with context.step() as batch:
            batch.save(checkpoint=place, done=1)
        return stored(job).attempts

    held = take()
    assert held is not None
    assert held.attempts == 4
    assert step((1, 2)) == 1
    Job.objects.filter(pk=job.pk).update(attempts=4)
    held.refresh_from_db()
    assert step((1, 2)) == 4, "the same place as before"
    assert step(None) == 4
    assert step([1, 3]) == 1
