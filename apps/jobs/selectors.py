"""Reads of the ledger, always an owner's."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from apps.jobs.models import Job, JobState
from apps.practices.errors import Conflict, NotFound

PUBLIC_COLUMNS = (
    "id",
    "kind",
    "state",
    "progress_done",
    "progress_total",
    "progress_message",
    "attempts",
    "created_at",
    "started_at",
    "finished_at",
    "result",
    "result_type",
    "problem",
)


class JobUnfinished(Conflict):
    """There is no result yet, or there will never be one."""

    status = 409
    type = "job-unfinished"
    title = "No result"
    explanation = "The job has not succeeded: it waits, runs, was cancelled or has failed. Its state says which."


def job_list(*, owner_id: UUID, state: str | None = None, kind: str | None = None) -> QuerySet[Job]:
    """Give the owner's jobs."""
    jobs = Job.objects.filter(owner_id=owner_id)
    if state is not None:
        jobs = jobs.filter(state=state)
    return jobs if kind is None else jobs.filter(kind=kind)


def job_read(*, job_id: UUID, owner_id: UUID) -> Job:
    """Give one of the owner's jobs; raise ``NotFound`` for anybody else's."""
    job = Job.objects.filter(pk=job_id, owner_id=owner_id).only(*PUBLIC_COLUMNS, "result_name").first()
    if job is None:
        raise NotFound
    return job


def job_finished(*, job_id: UUID, owner_id: UUID) -> Job:
    """Give one of the owner's jobs that has a result; raise ``NotFound`` or ``JobUnfinished`` (409)."""
    job = job_read(job_id=job_id, owner_id=owner_id)
    if job.state != JobState.SUCCEEDED:
        raise JobUnfinished(f"The job is {job.state}.")
    return job


def job_under_way(*, owner_id: UUID, kind: str) -> UUID | None:
    """Give the id of an owner's job of a kind that waits or runs; None when there is none."""
    under_way = Job.objects.filter(owner_id=owner_id, kind=kind, state__in=(JobState.QUEUED, JobState.RUNNING))
    return under_way.values_list("pk", flat=True).first()


def job_row(job: Job) -> dict[str, Any]:
    """Give the columns that a list reads by ``.values()``."""
    return {name: getattr(job, name) for name in PUBLIC_COLUMNS}
