"""Reads for operators: owners, statistics, and paused queues."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, FloatField, QuerySet, Sum
from django.db.models.functions import Extract, Length, Now

from apps.jobs.models import UNFINISHED, WAITING, ChunkPurpose, Job, JobChunk, JobState, JobWorker, QueuePause

ALIVE = timedelta(seconds=60)  # a worker without a heartbeat for longer is considered dead
EXHAUSTED = "/attempts-exhausted"  # how the type of ``outcomes.AttemptsExhausted`` ends


def owner_by_email(email: str) -> AbstractBaseUser | None:
    """Return the account with an e-mail address, in any letter case, or None."""
    users = get_user_model()._default_manager
    try:
        return users.get_by_natural_key(email)
    except get_user_model().DoesNotExist:
        return None


@dataclass(frozen=True, kw_only=True)
class JobStats:
    """Statistics of jobs, workers and files.

    ``jobs``: unfinished jobs by queue and state. ``oldest``: how long the longest-due job of each queue waits, in seconds.
    ``paused``: the queues that are paused. ``exhausted``: discarded jobs by kind whose last attempt failed. ``files``: bytes by
    purpose.
    """

    jobs: dict[tuple[str, str], int]
    oldest: dict[str, float]
    paused: frozenset[str]
    exhausted: dict[str, int]
    workers: int
    files: dict[str, int]


def job_stats() -> JobStats:
    """Return the statistics. An index serves each of the queries."""
    with transaction.atomic():  # one connection, one time
        jobs: dict[tuple[str, str], int] = {
            (queue, state): count
            for state in UNFINISHED
            for queue, count in Job.objects.filter(state=state).values_list("queue").annotate(Count("pk")).order_by()
        }
        queues = {queue for queue, _ in jobs} | set(queues_known())
        exhausted = Job.objects.filter(state=JobState.DISCARDED, problem__type__endswith=EXHAUSTED)
        return JobStats(
            jobs={(queue, state): jobs.get((queue, state), 0) for queue in queues for state in UNFINISHED},
            oldest={queue: _oldest_waits(queue) for queue in queues},
            paused=frozenset(queue_pauses().values_list("queue", flat=True)),
            exhausted=dict(exhausted.values_list("kind").annotate(Count("pk")).order_by()),
            workers=_workers().count(),
            files=dict.fromkeys(ChunkPurpose.values, 0)
            | dict(JobChunk.objects.values_list("purpose").annotate(size=Sum(Length("data"))).order_by()),
        )


def queues_known() -> list[str]:
    return [queue.name for queue in settings.CELERY_TASK_QUEUES]


def queue_pauses() -> QuerySet[QueuePause]:
    """Return the paused queues by name, with who paused each, and when."""
    return QueuePause.objects.order_by("queue")


def queues_without_worker() -> tuple[list[str], bool]:
    """Return the queues whose jobs have waited for longer than ALIVE without a live worker, and whether any worker is alive."""
    alive = list(_workers().values_list("queues", flat=True))
    unserved = [name for name in queues_known() if not any(name in queues for queues in alive)]
    found = [queue for queue in unserved if _oldest_waits(queue) >= ALIVE.total_seconds()]
    return found, bool(alive)


def worker_seen(*, host: str) -> float | None:
    """Return how many seconds ago a worker on this host last had a heartbeat; None if none is known. Ended workers are not."""
    age = Extract(ExpressionWrapper(Now() - F("seen_at"), DurationField()), "epoch", output_field=FloatField())
    workers = JobWorker.objects.filter(name__startswith=f"{host}/").annotate(age=age)
    return workers.order_by("-seen_at").values_list("age", flat=True).first()


def _workers() -> QuerySet[JobWorker]:
    return JobWorker.objects.filter(seen_at__gt=Now() - ALIVE)


def _oldest_waits(queue: str) -> float:
    """Return how long, in seconds, the job of a queue waits that has been due for longest; 0 if no job is due."""
    waits = Extract(ExpressionWrapper(Now() - F("run_at"), DurationField()), "epoch", output_field=FloatField())
    due = Job.objects.filter(queue=queue, run_at__lte=Now()).order_by("run_at", "id").annotate(waits=waits)
    # One query for each state, as an index serves each.
    return max(float(due.filter(state=state).values_list("waits", flat=True).first() or 0) for state in WAITING)
