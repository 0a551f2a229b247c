"""Jobs that have ended, with their uploads and results."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from apps.jobs.models import Job
from apps.practices.database.retention import Retention


def _rows(before: datetime) -> Sequence[QuerySet[Job]]:
    return (Job.objects.filter(finished_at__lt=before).order_by("finished_at"),)


Retention(name="jobs", days=lambda: settings.RETENTION_JOBS, rows=_rows)
