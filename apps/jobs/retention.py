"""Jobs that have ended, with their uploads and results; answers kept for repetitions, which nobody may repeat any more."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from apps.jobs.models import IdempotencyKey, Job
from apps.practices.database.retention import Retention


def _rows(before: datetime) -> Sequence[QuerySet[Job]]:
    return (Job.objects.filter(finished_at__lt=before).order_by("finished_at"),)


def _keys(before: datetime) -> Sequence[QuerySet[IdempotencyKey]]:
    return (IdempotencyKey.objects.filter(created_at__lt=before).order_by("created_at"),)


Retention(name="idempotency-keys", days=lambda: settings.RETENTION_IDEMPOTENCY / 24, rows=_keys)
Retention(name="jobs", days=lambda: settings.RETENTION_JOBS, rows=_rows)
