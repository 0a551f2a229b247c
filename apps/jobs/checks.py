"""System checks of ``jobs``: kinds that no worker would run, invalid schedules, and a broker that drops messages."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from apps.jobs.kinds import kinds
from apps.jobs.services.broker import eviction_policy
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


@register("jobs", deploy=True)
def check_eviction(**_: Any) -> list[CheckMessage]:
    """Warn if the broker's Redis may evict keys that never expire, such as queues (jobs.W001). Silent if it does not answer."""
    policy = eviction_policy() or ""
    if not policy.startswith("allkeys-"):
        return []
    return [
        Warning(
            f"The Redis of the queues evicts any key when its memory is full (maxmemory-policy is {policy}).",
            hint=(
                "Set its maxmemory-policy to volatile-lru, which evicts only keys that expire, such as cached responses; or "
                "give the cache its own Redis (CACHE_URL) and set noeviction on this one."
            ),
            id="jobs.W001",
        )
    ]
