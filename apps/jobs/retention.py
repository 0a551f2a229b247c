"""Retention of finished jobs, their uploads and results, and of responses stored under an Idempotency-Key."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from apps.jobs.models import IdempotencyKey, Job, JobChunk, JobState
from apps.jobs.services.schedules import LATE
from apps.practices.privacy.retention import PARTS, Retention, rows_before


def _rows(before: datetime) -> Sequence[QuerySet[Job]]:
    finished = Job.objects.filter(finished_at__lt=before)
    # Without the row, the due time would be inserted again.
    done = Q(schedule__gt="", scheduled_for__gt=Now() - 2 * LATE)
    return (finished.exclude(done).order_by("finished_at"),)


def _files(before: datetime) -> Sequence[QuerySet[JobChunk]]:
    """Return the files of succeeded jobs. A discarded job may be retried, so it keeps its files as long as it exists."""
    files = JobChunk.objects.filter(job__state=JobState.SUCCEEDED, job__finished_at__lt=before)
    return (files.order_by("job__finished_at", "pk"),)


Retention(
    name="idempotency-keys",
    days=lambda: settings.RETENTION_IDEMPOTENCY / 24,
    rows=rows_before(IdempotencyKey, "created_at"),
)
Retention(name="job-files", days=lambda: settings.RETENTION_FILES, rows=_files, batch=PARTS)
Retention(
    name="jobs",
    days=lambda: settings.RETENTION_JOBS,
    rows=_rows,
    parts=lambda jobs: JobChunk.objects.filter(job__in=jobs),
)
