"""Whose job comes next: start-time fair queuing (Goyal, Vin and Cheng, 1996), with owners as flows and jobs of one size.

A job that is submitted gets a turn: one more than its owner's last waiting job, but never below the lowest that waits in
the queue, so that whoever was away gains nothing by it. Jobs are claimed by turn: one owner's thousand jobs and another's
single one take turns. Two look-ups in indexes a submission, one a claim, however many wait.
"""

from uuid import UUID

from django.db.models import Max, Min

from apps.jobs.models import Job, JobState


def turn_next(*, queue: str, owner_id: UUID | None) -> int:
    """Give the turn of a job that its owner submits now; jobs of nobody share the turns of one owner."""
    waiting = Job.objects.filter(state=JobState.QUEUED, queue=queue)
    own = waiting.filter(owner_id=owner_id).aggregate(last=Max("turn"))["last"]
    first = waiting.aggregate(first=Min("turn"))["first"]
    return max(0 if own is None else own + 1, first or 0)
