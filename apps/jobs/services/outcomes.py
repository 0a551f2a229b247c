"""The outcomes of an attempt, except success (``chaining``): another attempt, quarantine (``isolation``), or the job's end."""

import random
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.jobs.kinds import kind_label, kind_named
from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.claims import Claim, ClaimLost, claim_lock, fenced
from apps.jobs.services.files import files_delete
from apps.practices.errors import Problem
from apps.practices.errors.responses import problem_members
from apps.practices.mechanisms.metrics import count

LONGEST_BACKOFF = 600  # seconds
UNKNOWN_KIND_ATTEMPTS = 12  # over an hour: during a release, workers of the previous version claim its jobs too
ERROR_LENGTH = 4000


class AttemptsExhausted(Problem, status=500, type="attempts-exhausted", title="Every attempt failed"):
    explanation = (
        "Every attempt at this job failed, so it was discarded. Retry it, or send its id to the service's operator."
    )


def job_discard(*, claim: Claim, problem: Problem) -> None:
    """Discard the job with a problem that every attempt would meet again."""
    with fenced(claim) as columns:
        columns.update(_finished(JobState.DISCARDED), problem=problem_stored(problem))


def job_stop(*, claim: Claim) -> None:
    """Cancel the job, as its owner or an operator asked."""
    with fenced(claim) as columns:
        claim_lock(claim)
        columns.update(_finished(JobState.CANCELLED))
        files_delete(job_ids=[claim.job_id])


def job_release(*, claim: Claim) -> None:
    """Return the job to the queue without counting the attempt, because its worker stops. Cancel it if that was asked for."""
    with fenced(claim) as columns:
        if claim_lock(claim) == JobStop.CANCEL:
            columns.update(_finished(JobState.CANCELLED))
            files_delete(job_ids=[claim.job_id])
        else:
            columns.update(_requeued(), attempts=F("attempts") - 1)


def job_fail(*, claim: Claim, error: str) -> None:
    """Record a failed attempt: retry the job after a growing pause, or discard it after the last attempt."""
    with transaction.atomic():
        job = claim.rows().select_for_update().first()
        if job is None:
            raise ClaimLost
        _attempt_failed(job, error)


def claim_abandon(*, claim: Claim, error: str) -> None:
    """End a claim whose process is known to be dead, as a failed attempt. Do nothing if the claim is lost."""
    with suppress(ClaimLost), transaction.atomic():
        job_fail(claim=claim, error=error)
        transaction.on_commit(partial(count, "jobs_reclaimed", reason="process-died"), robust=True)


def leases_reap(*, limit: int = 100) -> int:
    """Reclaim jobs whose lease has expired, and return their number.

    An advisory lock lets one process reclaim at a time, so that the jobs of a dead worker are judged together.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('jobs reaper', 0))")
            if not cursor.fetchone()[0]:
                return 0
        running = Job.objects.select_for_update(skip_locked=True).filter(state=JobState.RUNNING)
        expired = list(running.filter(leased_until__lt=Now()).order_by("leased_until")[:limit])
        for worker in dict.fromkeys(job.worker for job in expired):
            of_worker = [job for job in expired if job.worker == worker]
            concurrent = list(running.filter(worker=worker).exclude(pk__in=[job.pk for job in of_worker]))
            _worker_died(worker, of_worker, concurrent)
        if expired:
            transaction.on_commit(partial(count, "jobs_reclaimed", len(expired), reason="lease-expired"), robust=True)
    return len(expired)


def _worker_died(worker: str, expired: list[Job], concurrent: list[Job]) -> None:
    """Charge the only job that the dead worker ran, or quarantine all, also the ``concurrent`` ones whose lease still runs."""
    error = f"The worker {worker} stopped renewing its lease."
    for job in expired:
        if job.isolated or not (job.quarantined or len(expired) + len(concurrent) > 1):
            _attempt_failed(job, error)
        else:
            _update(job, error, _requeued() | {"attempts": F("attempts") - 1, "quarantined": True})
    Job.objects.filter(pk__in=[job.pk for job in concurrent]).update(quarantined=True)


def attempts_exhausted(job: Job) -> bool:
    """Return whether the job is discarded if this attempt fails."""
    kind = kind_named(job.kind)
    return job.attempts >= (kind.attempts if kind else UNKNOWN_KIND_ATTEMPTS)


def _attempt_failed(job: Job, error: str) -> None:
    """Retry or discard a locked, running job."""
    if not attempts_exhausted(job):
        columns = _requeued() | {"state": JobState.RETRYABLE, "run_at": Now() + _backoff(job.attempts)}
    else:
        columns = _finished(JobState.DISCARDED) | {"problem": problem_stored(AttemptsExhausted())}
        if job.stop == JobStop.NONE:
            failed = partial(count, "jobs_last_attempts_failed", kind=kind_label(job.kind))
            transaction.on_commit(failed, robust=True)
    _update(job, error, columns)


def _update(job: Job, error: str, columns: dict[str, Any]) -> None:
    """Store what follows the attempt: cancel or release a job that was asked to stop, else write ``columns``."""
    if job.stop == JobStop.CANCEL:
        files_delete(job_ids=[job.pk])
        columns = _finished(JobState.CANCELLED)
    elif job.stop == JobStop.RELEASE:
        columns = _requeued() | {"attempts": F("attempts") - 1}
    Job.objects.filter(pk=job.pk).update(**columns, error=error[-ERROR_LENGTH:])


def _backoff(attempts: int) -> timedelta:
    """Return a pause that doubles with each attempt. Half of it is random, so that jobs that failed together spread out."""
    seconds = min(settings.JOBS_BACKOFF_SECONDS * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return timedelta(seconds=seconds * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing


def _finished(state: JobState) -> dict[str, Any]:
    return {"state": state, "finished_at": Now(), "leased_until": None, "stop": JobStop.NONE}


def _requeued() -> dict[str, Any]:
    """Return the columns of a job that can be claimed again; the next tick of any relay sends its message."""
    return {"state": JobState.QUEUED, "leased_until": None, "stop": JobStop.NONE, "sent_at": None, "run_at": Now()}


def problem_stored(problem: Problem) -> dict[str, Any]:
    """Return the problem as it is stored with the job. ``serializers`` adds the job's path and the request's id."""
    members = problem_members(problem, instance="")
    del members["instance"]
    return members
