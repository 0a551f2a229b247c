"""The fleet's metrics: each process adds what it counted since the last second to minute buckets and totals in Redis.

A field is one additive number: a sample's name and labels as JSON. Histogram buckets are kept one by one, not
cumulated, so that a request touches one bucket. A minute's bucket lives 25 hours (a day of plots); totals never go
down until Redis loses them, which Prometheus takes for a restart. While Redis is away nothing is lost: the difference
to what was last sent goes on growing and is sent when it is back.
"""

import atexit
import os
import time
from collections.abc import Mapping
from threading import Event, Lock, Thread

import orjson
import redis
import structlog
from django.conf import settings
from prometheus_client import CollectorRegistry

INTERVAL = 1.0
MINUTES_KEPT = 25 * 60
_TIMEOUT = 0.5
_COUNT_SUFFIX = "_count"

logger = structlog.get_logger(__name__)


class FleetUnavailable(Exception):
    """Redis did not answer: there are only this process's numbers."""


def additive_samples(registry: CollectorRegistry) -> dict[bytes, float]:
    """Return every non-zero number of a registry by field; a histogram's ``_count`` is its buckets' sum and left out."""
    numbers: dict[bytes, float] = {}
    for family in registry.collect():
        below: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in family.samples:
            value = sample.value
            if family.type == "histogram" and sample.name.endswith(_COUNT_SUFFIX):
                continue
            if "le" in sample.labels:
                series = tuple(item for item in sample.labels.items() if item[0] != "le")
                value, below[series] = value - below.get(series, 0.0), value
            if value:
                numbers[_field(sample.name, sample.labels)] = value
    return numbers


def _field(name: str, labels: Mapping[str, str]) -> bytes:
    # A copy, since fields are kept: what orjson gives is at least 4 KiB large, however short.
    return bytes(memoryview(orjson.dumps([name, labels], option=orjson.OPT_SORT_KEYS)))


def field_read(field: bytes) -> tuple[str, dict[str, str]]:
    """Return the sample name and labels that a field stands for."""
    name, labels = orjson.loads(field)
    return name, labels


class Flusher:
    """Sends what one registry gained since the last time, every second, from a thread of its own."""

    def __init__(self, registry: CollectorRegistry, *, sent: Mapping[bytes, float]) -> None:
        self.registry = registry
        self._sent = dict(sent)
        self._lock = Lock()
        self._stop = Event()
        self._failing = False
        self._thread = Thread(target=self._run, name="metrics-flush", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and send the last second's numbers; waits for Redis at most twice its timeout."""
        self._stop.set()
        self._thread.join(timeout=2 * _TIMEOUT)
        self.flush()

    def flush(self) -> bool:
        """Send what is new; False when Redis does not take it (it is then sent later).

        Redis may have carried out what it could not confirm: after a timeout a second can count twice.
        """
        with self._lock:
            now = additive_samples(self.registry)
            gained = {field: value - self._sent.get(field, 0.0) for field, value in now.items()}
            gained = {field: value for field, value in gained.items() if value}
            try:
                if gained:
                    _add(gained, minute=int(time.time() // 60))
            except redis.RedisError as error:
                if not self._failing:
                    logger.warning("metrics_flush_failed", error=type(error).__name__)
                self._failing = True
                return False
            self._sent = now
            self._failing = False
            return True

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.flush()


def _add(gained: Mapping[bytes, float], *, minute: int) -> None:
    bucket = minute_key(minute)
    with client().pipeline(transaction=True) as pipeline:
        for field, value in gained.items():
            pipeline.hincrbyfloat(totals_key(), field, value)
            pipeline.hincrbyfloat(bucket, field, value)
        pipeline.expire(bucket, MINUTES_KEPT * 60)
        pipeline.execute()


def totals_key() -> str:
    """The hash of all numbers since Redis first held any."""
    return f"{settings.OBSERVABILITY_METRICS_PREFIX}:total"


def minute_key(minute: int) -> str:
    """The hash of one minute's numbers (minutes since 1970)."""
    return f"{settings.OBSERVABILITY_METRICS_PREFIX}:{minute}"


def fleet_totals() -> dict[bytes, float]:
    """Return every number of the whole fleet by field; FleetUnavailable when Redis is away."""
    if _flusher is not None and not _flusher.flush():
        raise FleetUnavailable
    try:
        stored: Mapping[bytes, bytes] = client().hgetall(totals_key())  # type: ignore[assignment]  # a sync client
    except redis.RedisError as error:
        raise FleetUnavailable from error
    return {field: float(value) for field, value in stored.items()}


_client: redis.Redis | None = None
_flusher: Flusher | None = None
_inherited: dict[bytes, float] = {}
_start_lock = Lock()


def client() -> redis.Redis:
    """Return this process's Redis client for metrics and readiness: half a second for anything, no retries."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(
            settings.OBSERVABILITY_REDIS_URL,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=None,
        )
    return _client


def flusher_start(registry: CollectorRegistry) -> None:
    """Start this process's flusher unless it runs. Called with every count, so that it starts after any fork."""
    if _flusher is None:
        _flusher_make(registry)


def _flusher_make(registry: CollectorRegistry) -> None:
    global _flusher
    with _start_lock:
        if _flusher is None:
            flusher = Flusher(registry, sent=_inherited)
            flusher.start()
            _flusher = flusher
            # The interpreter's end cuts threads off where they are, and then waits for the locks of the connections.
            atexit.register(shutdown)


def shutdown() -> None:
    """Send the last numbers and close the connection (called when a process ends in good order)."""
    global _flusher, _client
    if _flusher is not None:
        _flusher.stop()
        _flusher = None
    if _client is not None:
        _client.close()
        _client = None


def _after_fork() -> None:
    """A child has its parent's numbers but neither its thread nor its connection: it sends only what it adds."""
    global _flusher, _client, _inherited, _start_lock
    if _flusher is not None:
        _inherited = additive_samples(_flusher.registry)
    _flusher = None
    _client = None
    _start_lock = Lock()


os.register_at_fork(after_in_child=_after_fork)
