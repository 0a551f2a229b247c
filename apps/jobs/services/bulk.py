"""What an operator does to jobs, whosever they are and however many.

Each statement is a compare-and-set on the state, so what a worker, an owner or another operator did meanwhile stands. Nothing
is published: the next tick of any relay sends what was queued, so that none of this needs the broker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.fairness import LATER
from apps.jobs.services.files import files_delete

BATCH = 500
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a batch of jobs: whose state was changed, and who was asked to stop at the next checkpoint."""

    changed: tuple[UUID, ...] = ()
    asked: tuple[UUID, ...] = ()


def jobs_retry(*, jobs: QuerySet[Job], by: str) -> Iterator[Done]:
    """Queue the failed ones of these jobs anew, with all their attempts, and give each batch as it is done.

    They go on at their last checkpoint. What has not failed is left alone. ``by`` names the operator in the log.
    """
    failed = jobs.filter(state=JobState.FAILED)
    for ids in _batches(failed):
        with transaction.atomic():
            taken = _locked(ids, JobState.FAILED)[JobState.FAILED]
            Job.objects.filter(pk__in=taken).update(
                state=JobState.QUEUED,
                turn=LATER,  # the relay gives each a turn of today
                attempts=0,
                stop=JobStop.NONE,
                run_at=Now(),
                sent_at=None,
                finished_at=None,
                problem=None,
                error="",
            )
            transaction.on_commit(partial(logger.info, "jobs_retried", count=len(taken), by=by), robust=True)
        yield Done(changed=taken)


def jobs_cancel(*, jobs: QuerySet[Job], by: str) -> Iterator[Done]:
    """Cancel these jobs, at once where they wait, at their next checkpoint where they run; give each batch as it is done.

    What has ended stays as it ended.
    """
    for ids in _batches(jobs.filter(state__in=(JobState.QUEUED, JobState.RUNNING))):
        with transaction.atomic():
            locked = _locked(ids, JobState.QUEUED, JobState.RUNNING)
            running, waiting = locked[JobState.RUNNING], locked[JobState.QUEUED]
            Job.objects.filter(pk__in=running).update(stop=JobStop.CANCEL)
            Job.objects.filter(pk__in=waiting).update(state=JobState.CANCELLED, finished_at=Now())
            files_delete(job_ids=waiting)
            said = {"count": len(waiting), "asked": len(running), "by": by}
            transaction.on_commit(partial(logger.info, "jobs_cancelled", **said), robust=True)
        yield Done(changed=waiting, asked=running)


def _batches(jobs: QuerySet[Job]) -> Iterator[list[UUID]]:
    """Give the ids of the jobs as they are now, BATCH at a time: what is queued anew must not be met again."""
    ids = iter(list(jobs.order_by("pk").values_list("pk", flat=True)))
    while batch := list(islice(ids, BATCH)):
        yield batch


def _locked(ids: list[UUID], *states: JobState) -> dict[JobState, tuple[UUID, ...]]:
    """Lock those that are still in one of the states, and give them by the state that they are in once they are locked.

    In one statement, so that none slips through that goes from one state to the other meanwhile; in the order of their ids,
    so that two operators never wait for each other.
    """
    rows = Job.objects.select_for_update().filter(pk__in=ids, state__in=states).order_by("pk")
    found = list(rows.values_list("pk", "state"))
    return {state: tuple(pk for pk, now in found if now == state) for state in states}
