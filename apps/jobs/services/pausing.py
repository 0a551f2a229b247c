"""Pausing: the workers claim no job of a paused queue, until it is resumed.

The statements of claims read the row of the pause, so it takes effect with the next claim of any worker. Running jobs go on.
Waiting jobs stay in their rows, are counted by limits, can be cancelled, and more can be submitted; the messages that workers
receive in the meantime claim nothing. The relay sends no messages for a paused queue, and sends those of the waiting jobs
after it was resumed.
"""

from functools import partial

import structlog
from django.conf import settings
from django.db import transaction

from apps.jobs.models import QueuePause
from apps.jobs.monitoring import queues_known
from apps.jobs.services.relay import queue_wake

logger = structlog.get_logger(__name__)


class UnknownQueue(Exception):
    """No worker consumes a queue of this name."""

    def __init__(self, queue: str) -> None:
        super().__init__(
            f"Unknown queue {queue!r}. Choose from {', '.join(queues_known())} (settings/components/jobs.py)."
        )


def pause_warning(queue: str) -> str | None:
    """Return what else a pause of the queue stops, for the operator; None if only its jobs wait."""
    if queue != settings.JOBS_RESERVED_QUEUE:
        return None
    return (
        f"While {queue!r} is paused, no mail is sent: people who register or reset a password wait for it, and links that have "
        "expired by then are of no use."
    )


def queue_pause(*, queue: str, by: str) -> bool:
    """Pause a queue, and return whether it was running. ``by`` names the operator in the log. Raise ``UnknownQueue``."""
    if queue not in queues_known():
        raise UnknownQueue(queue)
    with transaction.atomic():
        _, is_new = QueuePause.objects.get_or_create(queue=queue, defaults={"paused_by": by})
        if is_new:
            transaction.on_commit(partial(logger.warning, "jobs_queue_paused", queue=queue, by=by), robust=True)
    return is_new


def queue_resume(*, queue: str, by: str) -> bool:
    """Resume a queue, and return whether it was paused. Raise ``UnknownQueue``.

    A queue that is no longer in the settings can be resumed, so that no row of it stays behind.
    """
    with transaction.atomic():
        deleted, _ = QueuePause.objects.filter(queue=queue).delete()
        if deleted:
            transaction.on_commit(partial(logger.warning, "jobs_queue_resumed", queue=queue, by=by), robust=True)
            transaction.on_commit(partial(queue_wake, queue=queue), robust=True)
    if not deleted and queue not in queues_known():
        raise UnknownQueue(queue)
    return bool(deleted)
