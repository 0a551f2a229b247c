"""Deletion of jobs whose data must not be kept any longer."""

from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.jobs.models import FINISHED, Job
from apps.jobs.services.fairness import owner_lock

BATCH = 10_000


def jobs_purge(*, owner_id: UUID) -> None:
    """Delete all jobs of an owner with their files, in any state. A worker that runs one finds its claim lost.

    Runs in the caller's transaction; until it ends, the owner cannot submit jobs.
    """
    owner_lock(owner_id)
    _delete(Job.objects.filter(owner_id=owner_id))


def jobs_purge_finished(*, owner_id: UUID, kind: str) -> None:
    """Delete an owner's finished jobs of a kind, with their files."""
    _delete(Job.objects.filter(owner_id=owner_id, kind=kind, state__in=FINISHED))


def jobs_purge_matching(*, kind: str, **parameters: str) -> None:
    """Delete the service's own jobs of a kind that have at least one of these parameters, in any state."""
    matching = Q(*(Q(**{f"parameters__{name}": value}) for name, value in parameters.items()), _connector=Q.OR)
    _delete(Job.objects.filter(matching, owner=None, kind=kind))


def _delete(jobs: QuerySet[Job]) -> None:
    """Delete jobs with their files. The rows are locked first; otherwise a worker could add a chunk in between."""
    with transaction.atomic():
        ids = list(jobs.select_for_update().order_by("pk").values_list("pk", flat=True))
        for start in range(0, len(ids), BATCH):  # PostgreSQL takes 65,535 values in a statement
            Job.objects.filter(pk__in=ids[start : start + BATCH]).delete()
