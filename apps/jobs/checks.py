"""System checks of `jobs`: what would be accepted and never done, and what would never fall due."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.jobs.kinds import kinds
from apps.jobs.services.schedules import schedule_error


@register("jobs")
def check_queues(**_: Any) -> list[CheckMessage]:
    """jobs.E001: a worker takes from the queue of each kind."""
    served = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    return [
        Error(
            f"Jobs of kind {kind.name} wait in the queue {kind.queue!r}, from which no worker takes.",
            hint="Add it to the queues in settings/components/jobs.py.",
            id="jobs.E001",
        )
        for kind in kinds()
        if kind.queue not in served
    ]


@register("jobs")
def check_schedules(**_: Any) -> list[CheckMessage]:
    """jobs.E002: each schedule has a kind, a time and parameters that can be used."""
    return [
        Error(f"The schedule {name!r} cannot be used: {error}.", hint="See JOBS_SCHEDULES.", id="jobs.E002")
        for name, entry in settings.JOBS_SCHEDULES.items()
        if (error := schedule_error(entry))
    ]
