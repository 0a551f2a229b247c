"""Celery's worker with the supervisor in its main process and a drain that ends as soon as the jobs have.

Celery's own soft shutdown sleeps for its whole timeout; ours looks at the ledger five times a second.
"""

import gc
from collections.abc import Collection
from typing import Any

import structlog
from celery.apps import worker as celery_worker
from celery.apps.worker import Worker as CeleryWorker
from celery.concurrency import get_implementation
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool
from celery.signals import worker_process_shutdown
from celery.worker.request import Request
from django.conf import settings
from kombu.asynchronous import Hub
from redis.exceptions import RedisError

from apps.jobs.monitoring import queues_known
from apps.jobs.processes import stopping_set, unreserved_limit_set
from apps.jobs.supervisor import Supervisor
from apps.practices.mechanisms import metrics_store
from apps.practices.observability import logs

# Celery looks for dead processes as soon as one closes its end of a pipe, which may be before the system lets it be reaped,
# and then every five seconds: meanwhile the worker is a process short.
POOL_SECONDS = 0.5
logger = structlog.get_logger(__name__)


def _say(message: str, stream: object = None) -> None:
    """Log what Celery would write to a terminal, from within its signal handlers."""
    logs.line_write(message, logger=celery_worker.__name__)


celery_worker.safe_say = _say  # type: ignore[attr-defined]  # not in the stubs; Celery has no setting for it


@worker_process_shutdown.connect
def _metrics_send(**options: object) -> None:
    """Send what a pool process counted in its last second."""
    metrics_store.shutdown()


def queues_refusal(chosen: Collection[str], left_out: Collection[str]) -> str | None:
    """Say why a worker cannot take from the queues of its -Q without those of its -X; None when it can.

    A queue that the settings name need not have a kind: another release may have one, and rows of it may be left.
    """
    known = queues_known()
    there_are = f"The queues are {', '.join(known)} (settings/components/jobs.py)."
    unknown = sorted({*chosen, *left_out}.difference(known))
    if unknown:
        return f"No job is ever in {', '.join(map(repr, unknown))}. {there_are}"
    if not {*(chosen or known)}.difference(left_out):
        return f"-X leaves it no queue. {there_are}"
    return None


def pool_refusal(pool: type[BasePool], start_method: str) -> str | None:
    """Say why a pool's processes cannot be looked after; None when they can."""
    if issubclass(pool, TaskPool) and start_method == "fork":
        return None
    return (
        "--pool has to be prefork, its start method fork: each job's memory is limited, and a job that hangs is killed, by its"
        " process, one job in each, forked from the one that looks after them."
    )


def unreserved_limit_of(concurrency: int, chosen: Collection[str], left_out: Collection[str]) -> int | None:
    """Return how many jobs of other queues than the reserved one a worker of so many processes may run; None: all.

    One process is kept for the reserved queue, where the worker takes from it and from others, and has another process.
    """
    queues = {*(chosen or queues_known())}.difference(left_out)
    shares = settings.JOBS_RESERVED_QUEUE in queues and len(queues) > 1
    return concurrency - 1 if shares and concurrency > 1 else None


class Worker(CeleryWorker):
    """Started by ``celery worker``: see ``project/celery.py``."""

    supervisor: Supervisor | None = None
    maintenance: Any = None
    hostname: str
    pool_cls: Any  # as the command line and the settings have it
    pool_start_method: str
    concurrency: int

    def on_after_init(self, *arguments: Any, **options: Any) -> None:
        """Refuse to start where it would wait for ever, or could not keep what it promises."""
        super().on_after_init(*arguments, **options)
        pool = get_implementation(self.pool_cls)
        refusal = pool_refusal(pool, self.pool_start_method) or queues_refusal(
            options.get("queues") or (), options.get("exclude_queues") or ()
        )
        if refusal is not None:
            raise SystemExit(f"The worker does not start. {refusal}")
        chosen, left_out = options.get("queues") or (), options.get("exclude_queues") or ()
        unreserved_limit_set(unreserved_limit_of(self.concurrency, chosen, left_out))

    def emit_banner(self) -> None:
        """Log in one line what Celery draws in thirty."""
        queues = sorted(str(name) for name in self.app.amqp.queues.consume_from)
        logger.info("worker_starting", name=self.hostname, processes=self.concurrency, queues=queues)

    def on_consumer_ready(self, consumer: Any) -> None:
        """Start the supervisor once the pool has forked: no thread and no connection of ours is copied into a child."""
        super().on_consumer_ready(consumer)
        JobRequest.hub = consumer.hub
        if self.maintenance is not None:  # from before the connection to the broker was lost
            self.maintenance.cancel()
        self.maintenance = consumer.hub.call_repeatedly(POOL_SECONDS, consumer.pool.maintain_pool)
        if self.supervisor is None:
            self.supervisor = Supervisor()
            self.supervisor.start()

    def wait_for_soft_shutdown(self) -> None:  # type: ignore[override]  # the stubs say bool; Celery returns nothing
        stopping_set()
        if self.supervisor is not None:
            self.supervisor.drain(settings.JOBS_SHUTDOWN_SECONDS)

    def on_stopped(self) -> None:
        super().on_stopped()
        if self.supervisor is not None:
            self.supervisor.finish()
        metrics_store.shutdown()
        gc.freeze()  # the interpreter's end looks for garbage three times: a third of a second for what is given back anyway


class JobRequest(Request):
    """A message that was taken, whose failed acknowledgement makes the worker connect to its broker anew.

    Celery's own logs it and goes on. The message then counts as unacknowledged for ever; as many of them as the worker has
    processes, and it asks for no more: deaf, while the broker is long back.

    ``hub`` is the worker's event loop. kombu's get_event_loop() has none any more once a connection was lost.
    """

    hub: Hub | None = None

    def acknowledge(self) -> None:
        if self.acknowledged:
            return
        self.acknowledged = True
        try:
            self.message.ack()
        except (*self.connection_errors, RedisError) as error:
            logger.warning("job_message_not_acknowledged", error=type(error).__name__)
            if self.hub is not None:
                self.hub.call_soon(_broker_lost, error)


def _broker_lost(error: Exception) -> None:
    """Raise in the event loop, which takes it for what it is: the connection is gone."""
    raise error
