"""Claims: the right of one process to run a job for the length of a lease.

A claim is (job, fence). ``fence`` grows with every claim, and each write of a worker is a compare-and-set that names it, so a
worker that lost its lease changes nothing: Kleppmann's fencing token, checked by the database itself. The worker's main process
renews the lease (``leases``). ``chaining`` ends a claim with success, ``outcomes`` in every other way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from apps.jobs.models import Job, JobState
from apps.jobs.services import isolation, statements
from apps.practices.database.routing import pin_to_primary


class ClaimLost(Exception):
    """The claim is no longer valid: the job was reclaimed, cancelled or deleted. Store nothing."""


@dataclass(frozen=True)
class Claim:
    """The right to run a job, valid until the row's fence moves on."""

    job_id: UUID
    fence: int
    owner_id: object = None

    def rows(self) -> QuerySet[Job]:
        """Return the job's row if the claim is still valid, else no row."""
        return Job.objects.filter(pk=self.job_id, fence=self.fence, state=JobState.RUNNING)


def lease_length() -> timedelta:
    """Return how long a claim lasts unless it is renewed."""
    return timedelta(seconds=settings.JOBS_LEASE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Claimer:
    """A process (``runner``) of a worker that claims jobs of a queue. ``unreserved_limit`` is that of ``processes``."""

    queue: str
    worker: str
    runner: str
    unreserved_limit: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the statements in ``statements``."""
        return {
            "queue": self.queue,
            "worker": self.worker,
            "runner": self.runner,
            "lease": lease_length(),
            "patience": isolation.PATIENCE,
            "reserved_queue": settings.JOBS_RESERVED_QUEUE,
            "running_per_user": settings.JOBS_RUNNING_PER_USER,
            "finishing": None,
        }


def job_claim(*, claimer: Claimer) -> Job | None:
    """Claim the queued job with the lowest start tag that the claimer may run; return None if no job is claimable.

    Concurrent callers claim different jobs. Jobs of an owner who already runs JOBS_RUNNING_PER_USER jobs are passed over, except
    in JOBS_RESERVED_QUEUE. Raise ``isolation.WorkerIsolated`` when a quarantined job keeps the worker from claiming.
    """
    parameters = claimer.parameters()
    with connection.cursor() as cursor:
        cursor.execute(statements.IS_ANY_CLAIMABLE, parameters)
        if not cursor.fetchone()[0]:
            return None  # a surplus message costs this one read
    with transaction.atomic():
        for condition in _conditions(claimer, parameters):
            for job in Job.objects.raw(statements.claim(condition), parameters):
                if not _exceeds_owner_limit(job):
                    return job
                transaction.set_rollback(True)
                return None  # when one of the owner's jobs ends, the queue gets another message
    return None


def _conditions(claimer: Claimer, parameters: Mapping[str, Any]) -> list[str]:
    """Return what the worker may claim, in order of preference. Claims of one worker run one after the other (advisory lock)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(worker)s, 0))", parameters)
        cursor.execute(statements.WORKER_LOAD, parameters)
        running, unreserved, is_isolated, is_overdue = cursor.fetchone()
    limit, is_reserved = claimer.unreserved_limit, claimer.queue == settings.JOBS_RESERVED_QUEUE
    if limit is not None and unreserved >= limit and not is_reserved and not is_isolated:
        return []
    return isolation.claim_conditions(
        queue=claimer.queue, worker=claimer.worker, running=running, is_isolated=is_isolated, is_overdue=is_overdue
    )


def _exceeds_owner_limit(job: Job) -> bool:
    """Return whether the owner runs too many jobs with this one, which the caller's transaction has just claimed.

    Two workers can each claim a job of one owner without seeing the other's. The second waits here until the first has
    committed, and then counts both.
    """
    if job.owner_id is None or job.queue == settings.JOBS_RESERVED_QUEUE:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"claims of {job.owner_id}"])
    running = Job.objects.filter(state=JobState.RUNNING, owner=job.owner_id).exclude(queue=settings.JOBS_RESERVED_QUEUE)
    return running.count() > settings.JOBS_RUNNING_PER_USER


@contextmanager
def fenced(claim: Claim) -> Iterator[dict[str, Any]]:
    """Run effects in one transaction that commits only if the claim is still valid; else raise ``ClaimLost``.

    Columns put into the yielded dict (``checkpoint``, ``progress_done`` …) are written to the row with them. The row is locked
    only by the last statement, so heartbeats and cancellations are not blocked while the effects are written.
    """
    with transaction.atomic():
        columns: dict[str, Any] = {}
        yield columns
        if not claim.rows().update(**columns, fence=claim.fence):
            raise ClaimLost
        pin_to_primary(claim.owner_id)


def claim_lock(claim: Claim) -> str | None:
    """Lock the job's row in the caller's transaction; return its ``stop``, or None if the claim is lost.

    To avoid deadlocks, every transaction that deletes files locks the job's row first.
    """
    return claim.rows().select_for_update().values_list("stop", flat=True).first()


def job_progress(*, claim: Claim, columns: Mapping[str, Any]) -> str:
    """Store progress and return what the job is asked to do (``JobStop``), or raise ``ClaimLost``."""
    if columns and not claim.rows().update(**columns):
        raise ClaimLost
    stop = claim.rows().values_list("stop", flat=True).first()
    if stop is None:
        raise ClaimLost
    return stop
