"""The relay: hands queued jobs to the broker that it has not got, or has lost.

It looks at the ledger, never at the queue it rescues, except for one number: an empty queue while jobs wait means that their
messages are gone (the broker was flushed, restarted without its memory, or a dead worker held them).
"""

import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState
from apps.jobs.services.broker import depth, publish
from apps.jobs.services.fairness import LATER, owners_at_share, start_tag_due

BATCH = 500


def jobs_relay() -> int:
    """Send what is due and was not sent, or was lost, and say how many were sent.

    Takes little more than a tick, however slow the broker is: leases are renewed by the same thread.
    """
    until = time.monotonic() + settings.JOBS_TICK_SECONDS
    return sum(_relay_queue(queue, until) for queue in _waiting_queues())


def message_missed(*, job_id: str) -> None:
    """Have a job sent again whose message was taken and not followed."""
    Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(sent_at=None)


def queue_wake(*, queue: str) -> None:
    """Send a message for a queue in which jobs are due but no message waits: a busy worker may have taken it in vain."""
    if depth(queue=queue) == 0:
        job_id = _due().filter(queue=queue, turn__lt=LATER).order_by("turn", "id").values_list("pk", flat=True).first()
        if job_id is not None:
            publish(job_id=job_id, queue=queue)


def _waiting_queues() -> list[str]:
    return list(_due().order_by("queue").values_list("queue", flat=True).distinct())


def _due() -> QuerySet[Job]:
    return Job.objects.filter(state=JobState.QUEUED, run_at__lte=Now())


def _relay_queue(queue: str, until: float) -> int:
    waiting = depth(queue=queue) if time.monotonic() < until else None
    if waiting is None:
        return 0
    unsent = Q(sent_at=None)
    if waiting == 0:
        # A message that was just popped is not a lost one: two ticks of grace. A message too many claims nothing.
        lost = Q(sent_at__lt=Now() - timedelta(seconds=2 * settings.JOBS_TICK_SECONDS))
        if queue != settings.JOBS_RESERVED_QUEUE:
            lost &= ~Q(owner_id__in=owners_at_share())  # all would claim nothing; who ends one of theirs sends another
        unsent |= lost
    sent = _mark_sent(queue, unsent)
    failed = [job_id for job_id in sent if time.monotonic() >= until or not publish(job_id=job_id, queue=queue)]
    if failed:
        Job.objects.filter(pk__in=failed, state=JobState.QUEUED).update(sent_at=None)
    return len(sent) - len(failed)


def _mark_sent(queue: str, unsent: Q) -> list[UUID]:
    """Mark a batch as sent and give its ids; several relays get different ones. Sending comes after the commit: a death in
    between leaves a job that looks lost, which the next relay sends. What was put off takes its turn from now on."""
    with transaction.atomic():
        jobs = list(
            _due()
            .filter(unsent, queue=queue)
            .select_for_update(skip_locked=True)
            .only("pk", "turn", "queue", "kind", "owner_id")
            .order_by("run_at", "id")[:BATCH]
        )
        for job in jobs:
            if job.turn >= LATER:
                Job.objects.filter(pk=job.pk).update(turn=start_tag_due(job))
        ids = [job.pk for job in jobs]
        Job.objects.filter(pk__in=ids).update(sent_at=Now())
    return ids
