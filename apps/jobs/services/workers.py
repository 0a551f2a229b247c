"""Who works, as far as the ledger knows: it needs neither Redis nor a job under way."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models.functions import Now

from apps.jobs.models import JobWorker

FORGOTTEN = timedelta(days=1)  # how long a killed worker's row stays


def worker_heartbeat(*, name: str, queues: Sequence[str]) -> None:
    """Say that a worker runs and which queues it takes from; the first time also clear away what was killed long ago."""
    if not JobWorker.objects.filter(pk=name).update(seen_at=Now(), queues=list(queues)):
        JobWorker.objects.create(name=name, queues=list(queues))
        JobWorker.objects.filter(seen_at__lt=Now() - FORGOTTEN).delete()


def worker_delete(*, name: str) -> None:
    """Say that a worker has ended."""
    JobWorker.objects.filter(pk=name).delete()
