"""Reads of jobs: by their owners, and for some kinds by staff."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.jobs.kinds import kinds_staff_may_read
from apps.jobs.models import UNFINISHED, Job, JobState
from apps.practices.database.matching import unindexed_column
from apps.practices.errors import Conflict, NotFound, Problem

NOT_SHOWN = ("parameters", "checkpoint", "error")  # may be large, and are in no response
STAFF_READS = "jobs.view_job"
Reader = AbstractBaseUser | AnonymousUser


class JobUnfinished(Conflict, type="job-unfinished", title="No result"):
    explanation = "The job has no result, because it has not succeeded. Read the job: its state says why."


class ResultExpired(Problem, status=410, type="result-expired", title="The result is gone"):
    """The result file has been deleted after RETENTION_FILES days."""

    explanation = "Result files are deleted some days after their jobs have succeeded. Submit the job again."


def job_list(*, owner_id: UUID, state: str | None = None, kind: str | None = None) -> QuerySet[Job]:
    jobs = Job.objects.filter(owner_id=owner_id)
    if state is not None:
        jobs = jobs.filter(state=state)
    if kind is None:
        return jobs
    if state in UNFINISHED:
        # At most JOBS_PER_USER rows, found by their state. Found by kind, the owner's whole history might be read.
        return jobs.alias(kind_looked_at=unindexed_column("kind")).filter(kind_looked_at=kind)
    return jobs.filter(kind=kind)


def job_read(*, job_id: UUID, reader: Reader) -> Job:
    """Return a job that the reader may see: their own, or one of a kind that staff may read. Else raise ``NotFound``."""
    visible = Q(owner_id=reader.pk)
    if isinstance(reader, PermissionsMixin) and (kinds := kinds_staff_may_read()) and reader.has_perm(STAFF_READS):
        visible |= Q(kind__in=kinds)
    job = Job.objects.filter(visible, pk=job_id).defer(*NOT_SHOWN).first()
    if job is None:
        raise NotFound
    return job


def job_finished(*, job_id: UUID, reader: Reader) -> Job:
    """Return a job with a result that the reader may see; raise NotFound, JobUnfinished (409) or ResultExpired (410)."""
    job = job_read(job_id=job_id, reader=reader)
    if job.state != JobState.SUCCEEDED:
        raise JobUnfinished(f"The job is {job.state}.")
    if job.result_type and files_expired(job.finished_at):
        raise ResultExpired
    return job


def files_expired(finished_at: datetime | None) -> bool:
    """Return whether the files of a job that finished then have expired. The next prune deletes them."""
    return finished_at is not None and finished_at < timezone.now() - timedelta(days=settings.RETENTION_FILES)


def job_under_way(*, owner_id: UUID, kind: str) -> UUID | None:
    """Return the id of an owner's unfinished job of a kind, or None."""
    unfinished = Job.objects.filter(owner_id=owner_id, kind=kind, state__in=UNFINISHED)
    return unfinished.values_list("pk", flat=True).first()
