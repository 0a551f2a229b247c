"""What becomes of an attempt that did not end by itself: tried again, run alone, or parked.

A process that dies alone is to blame for it. When a whole worker dies with several jobs, one of them may have killed it and
the others stood beside: each gets its attempt back and is a suspect, which the next worker runs alone. What kills that
worker, too, is to blame; what ends well is none any more.
"""

import random
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.jobs.kinds import kind_named
from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.claims import Claim, ClaimLost, document, ended, requeued
from apps.jobs.services.fairness import LATER
from apps.jobs.services.files import files_delete
from apps.practices.errors import Problem
from apps.practices.mechanisms.metrics import count

LONGEST_BACKOFF = 600  # seconds
UNKNOWN_KIND_ATTEMPTS = 12  # an hour and more: while a release rolls out, workers of the last one take its jobs, too
ERROR_LENGTH = 4000


class JobParked(Problem):
    """A job failed at its last attempt."""

    status = 500
    type = "job-parked"
    title = "The job failed and is parked"
    explanation = (
        "Every attempt at this job failed, so it is not tried again by itself. Retry it, or tell the operator its id."
    )


def job_fail(*, claim: Claim, error: str) -> None:
    """Record an attempt that went wrong: queued again after a growing pause, or parked after the last one."""
    with transaction.atomic():
        job = claim.rows().select_for_update().first()
        if job is None:
            raise ClaimLost
        _attempt_failed(job, error)


def claim_abandon(*, claim: Claim, error: str) -> None:
    """End a claim whose process is known to be dead; another worker or attempt takes over."""
    with transaction.atomic():
        job = claim.rows().select_for_update().first()
        if job is not None:
            _attempt_failed(job, error)
            transaction.on_commit(partial(count, "jobs_reclaimed", reason="process-died"), robust=True)


def leases_reap(*, limit: int = 100) -> int:
    """Reclaim jobs whose lease has run out, and say how many. Of several reapers one works at a time: it sees them all."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('jobs reaper', 0))")
            if not cursor.fetchone()[0]:
                return 0
        running = Job.objects.select_for_update(skip_locked=True).filter(state=JobState.RUNNING)
        expired = list(running.filter(leased_until__lt=Now()).order_by("leased_until")[:limit])
        for worker in dict.fromkeys(job.worker for job in expired):
            silent = [job for job in expired if job.worker == worker]
            beside = list(running.filter(worker=worker).exclude(pk__in=[job.pk for job in silent]))
            _worker_silent(worker, silent, beside)
        if expired:
            transaction.on_commit(partial(count, "jobs_reclaimed", len(expired), reason="lease-expired"), robust=True)
    return len(expired)


def _worker_silent(worker: str, expired: list[Job], beside: list[Job]) -> None:
    """Decide who is to blame for a worker that went silent: the one job it ran, or nobody yet.

    The leases of one worker run out within seconds of each other, so those that still hold (``beside``) are marked here, too.
    """
    error = f"The worker {worker} stopped renewing its lease."
    for job in expired:
        if job.is_alone or not (job.suspect or len(expired) + len(beside) > 1):
            _attempt_failed(job, error)
        else:
            otherwise = requeued() | {"attempts": F("attempts") - 1, "suspect": True}
            Job.objects.filter(pk=job.pk).update(**_stopped(job, error, otherwise=otherwise))
    Job.objects.filter(pk__in=[job.pk for job in beside]).update(suspect=True)


def _attempt_failed(job: Job, error: str) -> None:
    """Decide what becomes of a locked, running job whose attempt did not end."""
    kind = kind_named(job.kind)
    bound = kind.attempts if kind else UNKNOWN_KIND_ATTEMPTS
    if job.attempts < bound:
        otherwise = requeued() | {"run_at": Now() + _backoff(job.attempts), "turn": F("turn") + LATER}
    else:
        otherwise = ended(JobState.FAILED) | {"problem": document(job.pk, JobParked())}
    Job.objects.filter(pk=job.pk).update(**_stopped(job, error, otherwise=otherwise))


def _stopped(job: Job, error: str, *, otherwise: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of a job that was asked to stop before its attempt went wrong; ``otherwise`` when it was not.

    The files of one that was to be cancelled go.
    """
    columns: dict[str, Any] = {"error": error[-ERROR_LENGTH:]}
    if job.stop == JobStop.CANCEL:
        files_delete(job_ids=[job.pk])
        return columns | ended(JobState.CANCELLED)
    if job.stop == JobStop.RELEASE:
        return columns | requeued() | {"attempts": F("attempts") - 1}
    return columns | otherwise


def _backoff(attempts: int) -> timedelta:
    """A pause that doubles with each attempt, half of it random so that jobs that failed together part."""
    seconds = min(settings.JOBS_BACKOFF_SECONDS * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return timedelta(seconds=seconds * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing
