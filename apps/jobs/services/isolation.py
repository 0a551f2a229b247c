"""Isolation of quarantined jobs, to find out which job kills its worker.

When a worker dies with several jobs, any of them may have killed it. ``outcomes`` requeues them all, quarantined. A quarantined
job runs isolated: its worker runs nothing else, so a second death has one possible cause. A worker claims by these rules:

- While an isolated job runs, claim nothing.
- While other jobs run, claim healthy jobs only.
- When idle, claim healthy jobs first, because an isolated job keeps the worker's other processes idle.
- A quarantined job that has waited for PATIENCE is overdue. An idle worker claims it first. If no worker is idle, one worker of
  the queue, the first by name, claims nothing until it is.
"""

from datetime import timedelta

from django.db.models import Min
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState
from apps.jobs.services.statements import ANY, HEALTHY, OVERDUE

PATIENCE = timedelta(seconds=30)


class WorkerIsolated(Exception):
    """The worker can claim nothing now: it runs a quarantined job, or waits to be idle for one."""


def claim_conditions(*, queue: str, worker: str, running: int, is_isolated: bool, is_overdue: bool) -> list[str]:
    """Return what the worker may claim, in order of preference, or raise ``WorkerIsolated``."""
    if is_isolated:
        raise WorkerIsolated
    if not running:
        return [OVERDUE, HEALTHY, ANY] if is_overdue else [HEALTHY, ANY]
    if is_overdue and worker == _worker_becoming_idle(queue):
        raise WorkerIsolated
    return [HEALTHY]


def _worker_becoming_idle(queue: str) -> str | None:
    """Return the first worker by name that runs a job of the queue and is alive."""
    running = Job.objects.filter(state=JobState.RUNNING, queue=queue, leased_until__gt=Now())
    return running.aggregate(first=Min("worker"))["first"]
