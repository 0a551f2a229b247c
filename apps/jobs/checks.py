"""System checks of ``jobs``: kinds that no worker would run, and invalid schedules."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.jobs.kinds import kinds
from apps.jobs.services.schedules import schedule_error


@register("jobs")
def check_queues(**_: Any) -> list[CheckMessage]:
    """Check that workers consume the queue of each kind (jobs.E001)."""
    served = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    return [
        Error(
            f"Job kind {kind.name!r} uses queue {kind.queue!r}, which no worker consumes.",
            hint="Add the queue to _QUEUES in settings/components/jobs.py.",
            id="jobs.E001",
        )
        for kind in kinds()
        if kind.queue not in served
    ]


@register("jobs")
def check_schedules(**_: Any) -> list[CheckMessage]:
    """Check that each schedule has a known kind, a valid time and valid parameters (jobs.E002)."""
    return [
        Error(f"Schedule {name!r} is invalid: {error}.", hint="Correct it in JOBS_SCHEDULES.", id="jobs.E002")
        for name, entry in settings.JOBS_SCHEDULES.items()
        if (error := schedule_error(entry))
    ]
