"""Messages to the broker: one short try behind a circuit breaker, and never an error for the caller.

A lost message does no harm, because the relay sends it again. So a broker that is down, hangs or is full costs one request less
than a second, and nothing while the breaker is open.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import structlog
from celery import current_app
from django.conf import settings
from kombu import Connection, Producer
from kombu.exceptions import KombuError, OperationalError
from kombu.pools import producers
from redis.exceptions import RedisError

from apps.practices.mechanisms.breaker import Breaker
from apps.practices.mechanisms.metrics import count

TASK = "jobs.run"
logger = structlog.get_logger(__name__)

_breaker = Breaker("broker")
_UNAVAILABLE = (OperationalError, KombuError, RedisError, OSError)


def publish(*, job_id: UUID, queue: str) -> bool:
    """Send the job's id to the broker; return whether it was accepted."""
    if not _breaker.allows():
        count("degraded", mode="job_not_published")
        return False
    try:
        with _producer() as producer:
            _send(producer, job_id=job_id, queue=queue)
    except _UNAVAILABLE as error:
        _breaker.failed(error)
        count("degraded", mode="job_not_published")
        logger.warning("job_not_published", job_id=str(job_id), error=type(error).__name__)
        return False
    _breaker.succeeded()
    return True


def depth(*, queue: str) -> int | None:
    """Return how many messages wait in the broker's queue; None if the broker does not answer."""
    if not _breaker.allows():
        return None
    try:
        with _producer() as producer:
            # Not passive: kombu's check whether a queue exists ignores global_keyprefix, so it finds none.
            channel = cast(Any, producer.channel)
            waiting = int(channel.queue_declare(queue).message_count)
    except _UNAVAILABLE as error:
        _breaker.failed(error)
        return None
    _breaker.succeeded()
    return waiting


def eviction_policy() -> str | None:
    """Return the broker's maxmemory-policy; None if it does not report one."""
    try:
        with _producer() as producer:
            memory: dict[str, Any] = cast(Any, producer.channel).client.info("memory")
    except _UNAVAILABLE:
        return None
    return memory.get("maxmemory_policy")


def _send(producer: Producer, *, job_id: UUID, queue: str) -> None:
    current_app.send_task(TASK, args=[str(job_id)], queue=queue, producer=producer, retry=False, ignore_result=True)


@contextmanager
def _producer() -> Iterator[Producer]:
    """Yield a producer on a connection that waits for at most JOBS_PUBLISH_SECONDS at a time."""
    seconds = settings.JOBS_PUBLISH_SECONDS
    connection = Connection(
        settings.CELERY_BROKER_URL,
        transport_options={
            **settings.CELERY_BROKER_TRANSPORT_OPTIONS,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "max_retries": 0,
        },
    )
    with producers[connection].acquire(block=True, timeout=seconds) as producer:
        yield producer
