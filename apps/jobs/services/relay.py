"""The relay: queues delayed jobs when they are due, and sends messages that the broker lost or never got.

It reads the table, not the broker, except for one number: an empty queue in the broker while jobs are queued means that their
messages are gone. (The broker was flushed, restarted without its data, or the messages were with a worker that died.)
"""

import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.jobs.models import DELAYED, Job, JobState, QueuePause
from apps.jobs.services.broker import depth, publish
from apps.jobs.services.fairness import owners_at_limit, start_tag_next

BATCH = 500


def jobs_relay() -> int:
    """Queue delayed jobs that are due, send missing messages except for paused queues, and return how many were sent.

    Takes little longer than JOBS_TICK_SECONDS even with a slow broker, because the same thread renews leases.
    """
    until = time.monotonic() + settings.JOBS_TICK_SECONDS
    _delayed_queue()
    queued = Job.objects.filter(state=JobState.QUEUED).exclude(queue__in=QueuePause.objects.values("queue"))
    queues = queued.order_by("queue").values_list("queue", flat=True).distinct()
    return sum(_messages_send(queue, until) for queue in list(queues))


def message_missed(*, job_id: str) -> None:
    """Mark a queued job as unsent: its message was received, but no job was claimed for it."""
    Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(sent_at=None)


def queue_wake(*, queue: str) -> None:
    """Send a message for a queue that has queued jobs but no message: a busy worker may have used up the message."""
    if depth(queue=queue) == 0:
        queued = Job.objects.filter(state=JobState.QUEUED, queue=queue).order_by("start_tag", "id")
        job_id = queued.values_list("pk", flat=True).first()
        if job_id is not None:
            publish(job_id=job_id, queue=queue)


def _delayed_queue() -> None:
    """Queue a batch of delayed jobs that are due. A retryable job keeps its start tag, a scheduled one gets one now."""
    with transaction.atomic():
        due = Job.objects.filter(state__in=DELAYED, run_at__lte=Now()).select_for_update(skip_locked=True)
        for job in due.only("pk", "state", "start_tag", "queue", "kind", "owner_id").order_by("run_at", "id")[:BATCH]:
            start_tag = job.start_tag
            if job.state == JobState.SCHEDULED:
                start_tag = start_tag_next(queue=job.queue, kind=job.kind, owner_id=job.owner_id)
            Job.objects.filter(pk=job.pk).update(state=JobState.QUEUED, start_tag=start_tag, sent_at=None)


def _messages_send(queue: str, until: float) -> int:
    waiting = depth(queue=queue) if time.monotonic() < until else None
    if waiting is None:
        return 0
    unsent = Q(sent_at=None)
    if waiting == 0:
        # Two ticks of grace: a message that was just received is not lost.
        lost = Q(sent_at__lt=Now() - timedelta(seconds=2 * settings.JOBS_TICK_SECONDS))
        if queue != settings.JOBS_RESERVED_QUEUE:
            lost &= ~Q(
                owner_id__in=owners_at_limit()
            )  # nothing could be claimed; the end of a job of theirs sends a message
        unsent |= lost
    sent = _mark_sent(queue, unsent)
    failed = [job_id for job_id in sent if time.monotonic() >= until or not publish(job_id=job_id, queue=queue)]
    if failed:
        Job.objects.filter(pk__in=failed, state=JobState.QUEUED).update(sent_at=None)
    return len(sent) - len(failed)


def _mark_sent(queue: str, unsent: Q) -> list[UUID]:
    """Mark a batch as sent and return its ids. Concurrent relays get different batches.

    The messages are sent after the commit. If the process dies in between, the jobs look lost, and the next relay sends them.
    """
    with transaction.atomic():
        queued = Job.objects.filter(unsent, state=JobState.QUEUED, queue=queue).select_for_update(skip_locked=True)
        ids = list(queued.order_by("run_at", "id").values_list("pk", flat=True)[:BATCH])
        Job.objects.filter(pk__in=ids).update(sent_at=Now())
    return ids
