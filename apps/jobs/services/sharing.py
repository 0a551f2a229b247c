"""Whose job comes next: start-time fair queuing (Goyal, Vin and Cheng, 1996), with owners as flows and jobs of one size.

A job that is submitted gets a turn: one more than its owner's last waiting job, but never below the lowest that waits in
the queue, so that whoever was away gains nothing by it. Jobs are claimed by turn: one owner's thousand jobs and another's
single one take turns. Two look-ups in indexes a submission, one a claim, however many wait.

What is put off (``run_at``) must not lie at the head of the queue meanwhile: every claim would step over it, and the lowest
turn would stand still. It keeps its turn plus LATER, which no claim looks at, until the relay finds it due.
"""

from uuid import UUID

from django.db.models import Max, Min

from apps.jobs.models import Job, JobState

LATER = 2**62


def turn_next(*, queue: str, kind: str, owner_id: UUID | None) -> int:
    """Give the turn of a job that its owner submits now; of nobody's jobs, each kind is an owner.

    Exact when an owner's submissions come one after the other: with a lock, unless the owner is nobody.
    """
    waiting = Job.objects.filter(state=JobState.QUEUED, queue=queue, turn__lt=LATER)
    own = waiting.filter(owner_id=owner_id)
    if owner_id is None:
        own = own.filter(kind=kind)
    last = own.aggregate(last=Max("turn"))["last"]
    # A suspect may wait for long; its turn is not where the queue is.
    first = waiting.filter(suspect=False).aggregate(first=Min("turn"))["first"]
    return max(1 if last is None else last + 1, first or 1)


def turn_due(job: Job) -> int:
    """Give the turn of a job whose time has come: the one it had, or a new one when it had none (LATER alone)."""
    if job.turn > LATER:
        return job.turn - LATER
    return turn_next(queue=job.queue, kind=job.kind, owner_id=job.owner_id)
