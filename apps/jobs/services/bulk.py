"""Actions of operators on any number of jobs, of all owners.

Each statement is a compare-and-set on the state, so a change made by a worker, an owner or another operator in the meantime is
kept. Nothing is published here, so no action needs the broker: the relay queues and sends the jobs at its next tick.
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

from apps.jobs.models import UNFINISHED, WAITING, Job, JobState, JobStop
from apps.jobs.services.files import files_delete
from apps.jobs.services.submission import RETRIED

BATCH = 500
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a batch: the jobs whose state changed, and the running jobs that were asked to stop."""

    changed: tuple[UUID, ...] = ()
    asked: tuple[UUID, ...] = ()


def jobs_retry(*, jobs: QuerySet[Job], by: str) -> Iterator[Done]:
    """Schedule the discarded ones of these jobs to run again now, and yield each batch. ``by`` names the operator in the log."""
    for ids in _batches(jobs.filter(state=JobState.DISCARDED)):
        with transaction.atomic():
            discarded = tuple(_locked(ids, JobState.DISCARDED))
            Job.objects.filter(pk__in=discarded).update(
                state=JobState.SCHEDULED,  # the relay gives each a start tag
                sent_at=None,
                **RETRIED,
            )
            transaction.on_commit(partial(logger.info, "jobs_retried", count=len(discarded), by=by), robust=True)
        yield Done(changed=discarded)


def jobs_cancel(*, jobs: QuerySet[Job], by: str) -> Iterator[Done]:
    """Cancel the unfinished ones of these jobs, the running ones at their next checkpoint, and yield each batch."""
    for ids in _batches(jobs.filter(state__in=UNFINISHED)):
        with transaction.atomic():
            locked = _locked(ids, *UNFINISHED)
            running = tuple(job_id for job_id, state in locked.items() if state == JobState.RUNNING)
            waiting = tuple(job_id for job_id, state in locked.items() if state in WAITING)
            Job.objects.filter(pk__in=running).update(stop=JobStop.CANCEL)
            Job.objects.filter(pk__in=waiting).update(state=JobState.CANCELLED, finished_at=Now())
            files_delete(job_ids=waiting)
            counts = {"count": len(waiting), "asked": len(running), "by": by}
            transaction.on_commit(partial(logger.info, "jobs_cancelled", **counts), robust=True)
        yield Done(changed=waiting, asked=running)


def _batches(jobs: QuerySet[Job]) -> Iterator[list[UUID]]:
    """Yield the ids of the jobs as they are now, BATCH at a time, so that no job is processed twice."""
    ids = iter(list(jobs.order_by("pk").values_list("pk", flat=True)))
    while batch := list(islice(ids, BATCH)):
        yield batch


def _locked(ids: list[UUID], *states: JobState) -> dict[UUID, str]:
    """Lock the jobs that are still in one of the states, and return their ids with the states they are in now.

    One statement for all states, so that no job changes from one to the other unseen. In the order of the ids, so that two
    operators cannot deadlock.
    """
    rows = Job.objects.select_for_update().filter(pk__in=ids, state__in=states).order_by("pk")
    return dict(rows.values_list("pk", "state"))
