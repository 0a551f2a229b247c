"""Jobs that nobody may find any more."""

from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.jobs.models import Job, JobState
from apps.jobs.services.fairness import owner_lock

BATCH = 10_000
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def jobs_purge(*, owner_id: UUID) -> None:
    """Delete all jobs of an owner with their files, whatever they are at: a worker finds its claim lost and stores nothing.

    In the caller's transaction, until whose end the owner gets no other.
    """
    owner_lock(owner_id)
    _remove(Job.objects.filter(owner_id=owner_id))


def jobs_purge_finished(*, owner_id: UUID, kind: str) -> None:
    """Delete an owner's jobs of a kind that have ended, with their files."""
    _remove(Job.objects.filter(owner_id=owner_id, kind=kind, state__in=ENDED))


def jobs_purge_matching(*, kind: str, **parameters: str) -> None:
    """Delete the service's own jobs of a kind that have one of these parameters, whatever they are at."""
    named = Q(*(Q(**{f"parameters__{name}": value}) for name, value in parameters.items()), _connector=Q.OR)
    _remove(Job.objects.filter(named, owner=None, kind=kind))


def _remove(jobs: QuerySet[Job]) -> None:
    """Delete jobs with their files. Locked before the files are looked for, or a worker could add a block in between."""
    with transaction.atomic():
        ids = list(jobs.select_for_update().order_by("pk").values_list("pk", flat=True))
        for start in range(0, len(ids), BATCH):  # a statement takes 65,535 values
            Job.objects.filter(pk__in=ids[start : start + BATCH]).delete()
