"""Whose job comes next: start-time fair queuing (Goyal, Vin and Cheng, 1996), with owners as flows and jobs of one size.

A job that is submitted gets a turn: one more than its owner's last waiting job, but never below the lowest that waits in
the queue, so that whoever was away gains nothing by it. Jobs are claimed by turn: one owner's thousand jobs and another's
single one take turns. Two look-ups in indexes a submission, one a claim, however many wait.

What is put off (``run_at``) must not lie at the head of the queue meanwhile: every claim would step over it, and the lowest
turn would stand still. It keeps its turn plus LATER, which no claim looks at, until the relay finds it due.
"""

from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, QuerySet

from apps.jobs.models import Job, JobState

LATER = 2**62

# By hand: the two that Django made of it took 0.7 of a submission's 2.4 ms.
# A suspect may wait for long: its turn is not where the queue is.
_TURN = """
SELECT greatest(
    1 + coalesce((SELECT max(turn) FROM jobs_job
        WHERE state = 'queued' AND queue = %(queue)s AND turn < %(later)s AND {own}), 0),
    (SELECT min(turn) FROM jobs_job
        WHERE state = 'queued' AND queue = %(queue)s AND turn < %(later)s AND NOT suspect))
"""


def owner_lock(owner_id: UUID) -> None:
    """Let the caller's transaction alone add to an owner's jobs that wait or run, until it ends; take it before a job's row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"jobs of {owner_id}"])


def start_tag_next(*, queue: str, kind: str, owner_id: UUID | None) -> int:
    """Give the turn of a job that its owner submits now; of nobody's jobs, each kind is an owner.

    Exact when an owner's submissions come one after the other: with a lock, unless the owner is nobody.
    """
    own = "owner_id IS NULL AND kind = %(kind)s" if owner_id is None else "owner_id = %(owner)s"
    with connection.cursor() as cursor:
        cursor.execute(_TURN.format(own=own), {"queue": queue, "kind": kind, "owner": owner_id, "later": LATER})
        turn: int = cursor.fetchone()[0]
    return turn


def owners_at_share() -> QuerySet[Job, UUID]:
    """Return whom no job is claimed for at present: owners who run JOBS_RUNNING_PER_USER, those of the reserved queue apart."""
    running = Job.objects.filter(state=JobState.RUNNING, owner__isnull=False).exclude(
        queue=settings.JOBS_RESERVED_QUEUE
    )
    counted = (
        running.values("owner_id").annotate(running=Count("pk")).filter(running__gte=settings.JOBS_RUNNING_PER_USER)
    )
    return counted.values_list("owner_id", flat=True)


def start_tag_due(job: Job) -> int:
    """Give the turn of a job whose time has come: the one it had, or a new one when it had none (LATER alone)."""
    if job.turn > LATER:
        return job.turn - LATER
    return start_tag_next(queue=job.queue, kind=job.kind, owner_id=job.owner_id)
