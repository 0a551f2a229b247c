"""Heartbeats of workers, kept in PostgreSQL so that they are known without Redis and without a running job."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models.functions import Now

from apps.jobs.models import JobWorker

KEPT = timedelta(days=1)  # how long the row of a killed worker stays


def worker_heartbeat(*, name: str, queues: Sequence[str]) -> None:
    """Record that a worker runs and consumes these queues. The first heartbeat also deletes rows of workers killed long ago."""
    if not JobWorker.objects.filter(pk=name).update(seen_at=Now(), queues=list(queues)):
        JobWorker.objects.create(name=name, queues=list(queues))
        JobWorker.objects.filter(seen_at__lt=Now() - KEPT).delete()


def worker_delete(*, name: str) -> None:
    """Delete the row of a worker that has stopped."""
    JobWorker.objects.filter(pk=name).delete()
