"""Jobs that nobody may find any more."""

from uuid import UUID

from django.db.models import Q

from apps.jobs.models import Job, JobState

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def jobs_remove(*, owner_id: UUID) -> None:
    """Delete all jobs of an owner with their files, whatever they are at: a worker finds its claim lost and stores nothing."""
    Job.objects.filter(owner_id=owner_id).delete()


def jobs_ended_remove(*, owner_id: UUID, kind: str) -> None:
    """Delete an owner's jobs of a kind that have ended, with their files."""
    Job.objects.filter(owner_id=owner_id, kind=kind, state__in=ENDED).delete()


def jobs_naming_remove(*, kind: str, **parameters: str) -> None:
    """Delete the service's own jobs of a kind that have one of these parameters, whatever they are at."""
    named = Q(*(Q(**{f"parameters__{name}": value}) for name, value in parameters.items()), _connector=Q.OR)
    Job.objects.filter(named, owner=None, kind=kind).delete()
