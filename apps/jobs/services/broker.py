"""The way to the broker: one short try behind a breaker, and never an error to whoever submits.

The ledger does not need the message: the relay sends again what nobody took. So a broker that is away, hung or full costs a
request less than a second once, and nothing while the breaker is open.
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

TASK = "jobs.run"
logger = structlog.get_logger(__name__)

_breaker = Breaker("broker")
_AWAY = (OperationalError, KombuError, RedisError, OSError)


def publish(*, job_id: UUID, queue: str) -> bool:
    """Hand the job's id to the broker, and say whether it took it."""
    if not _breaker.allows():
        return False
    try:
        with _producer() as producer:
            _send(producer, job_id=job_id, queue=queue)
    except _AWAY as error:
        _breaker.failed(error)
        logger.warning("job_not_published", job_id=str(job_id), error=type(error).__name__)
        return False
    _breaker.succeeded()
    return True


def depth(*, queue: str) -> int | None:
    """How many messages wait in the broker's queue; None when it cannot be asked."""
    if not _breaker.allows():
        return None
    try:
        with _producer() as producer:
            # Not passive: kombu's look whether a queue exists leaves out global_keyprefix, and finds none.
            channel = cast(Any, producer.channel)
            waiting = int(channel.queue_declare(queue).message_count)
    except _AWAY as error:
        _breaker.failed(error)
        return None
    _breaker.succeeded()
    return waiting


def _send(producer: Producer, *, job_id: UUID, queue: str) -> None:
    current_app.send_task(TASK, args=[str(job_id)], queue=queue, producer=producer, retry=False, ignore_result=True)


@contextmanager
def _producer() -> Iterator[Producer]:
    """Lend a producer on a connection whose every wait is bounded by JOBS_PUBLISH_SECONDS."""
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
