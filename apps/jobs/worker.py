"""Celery's worker with the supervisor in its main process and a drain that ends as soon as the jobs have.

Celery's own soft shutdown sleeps for its whole timeout; ours looks at the ledger five times a second.
"""

from celery.apps.worker import Worker as CeleryWorker
from celery.signals import worker_process_shutdown
from django.conf import settings

from apps.jobs.processes import stopping_say
from apps.jobs.supervisor import Supervisor
from apps.practices.observability import store


@worker_process_shutdown.connect
def _metrics_send(**options: object) -> None:
    """Send what a pool process counted in its last second."""
    store.shutdown()


class Worker(CeleryWorker):
    """Started by ``celery worker``: see ``project/celery.py``."""

    supervisor: Supervisor | None = None

    def on_consumer_ready(self, consumer: object) -> None:
        """Start the supervisor once the pool has forked: no thread and no connection of ours is copied into a child."""
        super().on_consumer_ready(consumer)
        if self.supervisor is None:
            self.supervisor = Supervisor()
            self.supervisor.start()

    def wait_for_soft_shutdown(self) -> None:  # type: ignore[override]  # the stubs say bool; Celery returns nothing
        stopping_say()
        if self.supervisor is not None:
            self.supervisor.drain(settings.JOBS_SHUTDOWN_SECONDS)

    def on_stopped(self) -> None:
        super().on_stopped()
        if self.supervisor is not None:
            self.supervisor.finish()
        store.shutdown()
