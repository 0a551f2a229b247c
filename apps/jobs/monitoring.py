"""Reads of the ledger for operators: everybody's jobs, what waits, and who works."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, FloatField, QuerySet, Sum
from django.db.models.functions import Extract, Length, Now

from apps.jobs.models import UNFINISHED, WAITING, ChunkPurpose, Job, JobChunk, JobState, JobWorker

SEEN = timedelta(seconds=60)  # a worker that was not seen for so long is none
EXHAUSTED = "/attempts-exhausted"  # how the type of ``failures.AttemptsExhausted`` ends


def jobs_filter(
    *,
    ids: Sequence[UUID] = (),
    states: Sequence[str] = (),
    kind: str | None = None,
    owner: AbstractBaseUser | None = None,
    older: timedelta | None = None,
) -> QuerySet[Job]:
    """Give the jobs that meet every condition, newest first; ``older`` is the least time since the submission."""
    conditions: dict[str, Any] = {}
    if ids:
        conditions["pk__in"] = list(ids)
    if states:
        conditions["state__in"] = list(states)
    if kind is not None:
        conditions["kind"] = kind
    if owner is not None:
        conditions["owner_id"] = owner.pk
    if older is not None:
        conditions["created_at__lte"] = Now() - older
    return Job.objects.filter(**conditions).order_by("-created_at", "-id")


def owner_by_email(email: str) -> AbstractBaseUser | None:
    """Give the account with an e-mail address, however it is written; None when there is none."""
    users = get_user_model()._default_manager
    try:
        return users.get_by_natural_key(email)
    except get_user_model().DoesNotExist:
        return None


@dataclass(frozen=True, kw_only=True)
class LedgerStats:
    """How the ledger stands: jobs by (queue, state), seconds that the oldest due one waits by queue, parked ones by kind,
    bytes of files by purpose."""

    jobs: dict[tuple[str, str], int]
    oldest: dict[str, float]
    exhausted: dict[str, int]
    workers: int
    files: dict[str, int]


def ledger_stats() -> LedgerStats:
    """Look at what waits, runs and is parked, by the indexes of each."""
    with transaction.atomic():  # one connection and one time
        jobs: dict[tuple[str, str], int] = {
            (queue, state): count
            for state in UNFINISHED
            for queue, count in Job.objects.filter(state=state).values_list("queue").annotate(Count("pk")).order_by()
        }
        queues = {queue for queue, _ in jobs} | set(queues_known())
        exhausted = Job.objects.filter(state=JobState.DISCARDED, problem__type__endswith=EXHAUSTED)
        return LedgerStats(
            jobs={(queue, state): jobs.get((queue, state), 0) for queue in queues for state in UNFINISHED},
            oldest={queue: _oldest_waits(queue) for queue in queues},
            exhausted=dict(exhausted.values_list("kind").annotate(Count("pk")).order_by()),
            workers=_workers().count(),
            files=dict.fromkeys(ChunkPurpose.values, 0)
            | dict(JobChunk.objects.values_list("purpose").annotate(size=Sum(Length("data"))).order_by()),
        )


def queues_known() -> list[str]:
    """Give the names of the queues that the settings declare."""
    return [queue.name for queue in settings.CELERY_TASK_QUEUES]


def queues_without_worker() -> tuple[list[str], bool]:
    """Give the queues in which jobs wait for longer than SEEN while no worker of theirs was seen, and whether any was."""
    seen = list(_workers().values_list("queues", flat=True))
    attended = {queue for queues in seen for queue in queues}
    waiting = Job.objects.filter(state__in=WAITING, run_at__lte=Now() - SEEN)
    found = [queue for queue in queues_known() if queue not in attended and waiting.filter(queue=queue).exists()]
    return found, bool(seen)


def workers_list() -> QuerySet[JobWorker]:
    """Give all workers that are remembered, the one seen last first."""
    return JobWorker.objects.order_by("-seen_at", "name")


def _workers() -> QuerySet[JobWorker]:
    return JobWorker.objects.filter(seen_at__gt=Now() - SEEN)


def _oldest_waits(queue: str) -> float:
    """Return how long, in seconds, the job of a queue waits that has been due for longest; 0 if no job is due."""
    waits = Extract(ExpressionWrapper(Now() - F("run_at"), DurationField()), "epoch", output_field=FloatField())
    due = Job.objects.filter(queue=queue, run_at__lte=Now()).order_by("run_at", "id").annotate(waits=waits)
    # One query for each state, as an index serves each.
    return max(float(due.filter(state=state).values_list("waits", flat=True).first() or 0) for state in WAITING)
