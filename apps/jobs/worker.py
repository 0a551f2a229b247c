"""Celery's worker, with the supervisor in its main process and a shutdown that ends as soon as the jobs have.

Celery's own soft shutdown sleeps for its whole timeout; this one looks at the jobs table five times a second.
"""

import gc
import signal
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType
from typing import Any

import structlog
from celery.apps import worker as celery_worker
from celery.apps.worker import Worker as CeleryWorker
from celery.concurrency import asynpool, get_implementation
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool
from celery.signals import worker_process_init, worker_process_shutdown
from celery.worker.request import Request
from django.conf import settings
from kombu.asynchronous import Hub
from redis.exceptions import RedisError

from apps.jobs.monitoring import queues_known
from apps.jobs.processes import stopping_set, unreserved_limit_set
from apps.jobs.supervisor import Supervisor
from apps.practices.mechanisms import metrics_flusher
from apps.practices.observability import logs
from apps.practices.observability.farewell import reports_send

# Celery looks for dead processes when one closes its end of a pipe, perhaps before the system has reaped it, and then only
# every five seconds. Until then the worker is a process short.
POOL_SECONDS = 0.5
logger = structlog.get_logger(__name__)


def _say(message: str, stream: object = None) -> None:
    """Log what Celery's signal handlers would write to a terminal."""
    logs.line_write(message, logger=celery_worker.__name__)


celery_worker.safe_say = _say  # type: ignore[attr-defined]  # not in the stubs; Celery has no setting for it


@worker_process_init.connect
def _metrics_start(**options: object) -> None:
    """Send this pool process's metrics from its start, although it may not run a job for long."""
    metrics_flusher.start()


@worker_process_shutdown.connect
def _metrics_send(**options: object) -> None:
    """Send the metrics of a pool process's last second, and what is left of its spans and error reports."""
    metrics_flusher.shutdown()
    reports_send()


def queues_refusal(chosen: Collection[str], excluded: Collection[str]) -> str | None:
    """Return why a worker cannot consume the queues of -Q without those of -X; None if it can.

    A queue of the settings need not have a kind: jobs of another release may be in it.
    """
    known = queues_known()
    choices = f"Choose from {', '.join(known)} (settings/components/jobs.py)."
    unknown = sorted({*chosen, *excluded}.difference(known))
    if unknown:
        return f"Unknown queue {', '.join(map(repr, unknown))}. {choices}"
    if not {*(chosen or known)}.difference(excluded):
        return f"-X leaves no queue. {choices}"
    return None


def pool_refusal(pool: type[BasePool], start_method: str) -> str | None:
    """Return why the supervisor cannot control a pool's processes; None if it can."""
    if issubclass(pool, TaskPool) and start_method == "fork":
        return None
    return (
        "--pool must be prefork, with the start method fork. Memory limits and the killing of a job that hangs need one"
        " process for each job, forked from the worker's main process."
    )


def unreserved_limit_of(concurrency: int, chosen: Collection[str], excluded: Collection[str]) -> int | None:
    """Return how many jobs outside the reserved queue a worker may run: one less than processes if it shares; None: any."""
    queues = {*(chosen or queues_known())}.difference(excluded)
    shares = settings.JOBS_RESERVED_QUEUE in queues and len(queues) > 1
    return concurrency - 1 if shares and concurrency > 1 else None


class Worker(CeleryWorker):
    """The worker of ``celery worker`` (see ``project/celery.py``)."""

    supervisor: Supervisor | None = None
    maintenance: Any = None
    hostname: str
    pool_cls: Any  # as given on the command line or in the settings
    pool_start_method: str
    concurrency: int

    def on_after_init(self, *arguments: Any, **options: Any) -> None:
        """Refuse to start with options that would leave jobs waiting, or limits unenforced."""
        super().on_after_init(*arguments, **options)
        chosen, excluded = options.get("queues") or (), options.get("exclude_queues") or ()
        pool = get_implementation(self.pool_cls)
        if refusal := pool_refusal(pool, self.pool_start_method) or queues_refusal(chosen, excluded):
            raise SystemExit(f"The worker cannot start. {refusal}")
        unreserved_limit_set(unreserved_limit_of(self.concurrency, chosen, excluded))
        # The pool is forked from here. Garbage collections of a process need not visit what was loaded, each time: that took a
        # fifth of the time of an import, and copied the memory that processes share.
        gc.freeze()

    def install_platform_tweaks(self, worker: Any) -> None:
        super().install_platform_tweaks(worker)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            if callable(handler := signal.getsignal(number)):
                signal.signal(number, partial(_after_write, handler))

    def emit_banner(self) -> None:
        """Log one line instead of Celery's banner of thirty."""
        queues = sorted(str(name) for name in self.app.amqp.queues.consume_from)
        logger.info("worker_starting", name=self.hostname, processes=self.concurrency, queues=queues)

    def on_consumer_ready(self, consumer: Any) -> None:
        """Start the supervisor after the pool has forked, so that no child inherits its thread or its connection."""
        super().on_consumer_ready(consumer)
        JobRequest.hub = consumer.hub
        if self.maintenance is not None:  # from before a lost connection to the broker
            self.maintenance.cancel()
        self.maintenance = consumer.hub.call_repeatedly(POOL_SECONDS, consumer.pool.maintain_pool)
        if self.supervisor is None:
            metrics_flusher.start()
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
        metrics_flusher.shutdown()
        reports_send()
        gc.freeze()  # saves three garbage collections at the interpreter's exit, a third of a second


def _after_write(handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    """Handle a signal, in the event loop if it has interrupted the pool, which may be writing a job to a process.

    Celery stops the pool in the handler. A job of which only a part is written then has no result that the stop could wait for.
    """
    while frame is not None and frame.f_code.co_filename != asynpool.__file__:
        frame = frame.f_back
    if frame is None or JobRequest.hub is None:
        handler(number, frame)
    else:
        JobRequest.hub.call_soon(handler, number, None)


class JobRequest(Request):
    """A received message. If its acknowledgement fails, the worker reconnects to the broker.

    Celery's own request only logs the failure. The message then counts as unacknowledged for good, and once there is one for
    each process of the worker, it fetches no more messages, although the broker is back.

    ``hub`` is the worker's event loop; kombu's get_event_loop() returns None after a lost connection.
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
    """Raise in the event loop, which handles it as a lost connection."""
    raise error
