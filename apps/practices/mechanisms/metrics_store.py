"""The fleet's metrics: every second each process adds what it has counted to minute buckets and totals in Redis.

A field is one additive number, named by its sample's name and labels as JSON. Histogram buckets are stored one by one,
not cumulated, so that a request changes one bucket. A minute's bucket is kept for 25 hours (a day of plots). Totals never
decrease unless Redis loses them, which Prometheus treats as a restart. While Redis is unavailable nothing is lost: the
difference to the numbers last sent keeps growing, and is sent once Redis is back.

The client is not ``redis.py``'s guarded one. That one is the cache's: another server (CACHE_URL), timeouts too short for a
pipeline of all counters, and a breaker, which readiness must not consult in place of Redis and which counts in here.
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
    """Redis did not answer; only this process's numbers are known."""


def additive_samples(registry: CollectorRegistry) -> dict[bytes, float]:
    """Return every non-zero number of a registry by field, without a histogram's ``_count``, the sum of its buckets."""
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
    # A copy, since fields are kept: the buffer that orjson returns takes at least 4 KiB.
    return bytes(memoryview(orjson.dumps([name, labels], option=orjson.OPT_SORT_KEYS)))


def field_read(field: bytes) -> tuple[str, dict[str, str]]:
    """Return the sample name and the labels of a field."""
    name, labels = orjson.loads(field)
    return name, labels


class Flusher:
    """A thread that sends the increments of a registry every second."""

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
        """Stop the thread and send the last increments, waiting for Redis at most twice its timeout."""
        self._stop.set()
        self._thread.join(timeout=2 * _TIMEOUT)
        self.flush()

    def flush(self) -> bool:
        """Send the increments; return False if Redis did not confirm them (they are then sent again).

        Redis may have executed what it did not confirm: after a timeout, a second may be counted twice.
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
    """Return the key of the hash of totals."""
    return f"{settings.OBSERVABILITY_METRICS_PREFIX}:total"


def minute_key(minute: int) -> str:
    """Return the key of the hash of one minute (minutes since 1970)."""
    return f"{settings.OBSERVABILITY_METRICS_PREFIX}:{minute}"


def fleet_totals() -> dict[bytes, float]:
    """Return the fleet's totals by field; raise FleetUnavailable if Redis does not answer."""
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
    """Return this process's Redis client for metrics and readiness: half a second for each call, no retries."""
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
    """Start this process's flusher unless it runs. Every count calls this, so that it starts after any fork."""
    if _flusher is None:
        _flusher_make(registry)


def _flusher_make(registry: CollectorRegistry) -> None:
    global _flusher
    with _start_lock:
        if _flusher is None:
            flusher = Flusher(registry, sent=_inherited)
            flusher.start()
            _flusher = flusher
            # A thread killed at interpreter shutdown may hold a connection's lock, for which the shutdown then waits.
            atexit.register(shutdown)


def shutdown() -> None:
    """Send the last increments and close the connection; called at an orderly end of the process."""
    global _flusher, _client
    if _flusher is not None:
        _flusher.stop()
        _flusher = None
    if _client is not None:
        _client.close()
        _client = None


def _after_fork() -> None:
    """Reset a child process: it has its parent's numbers, of which it must send none, but not its thread and connection."""
    global _flusher, _client, _inherited, _start_lock
    if _flusher is not None:
        _inherited = additive_samples(_flusher.registry)
    _flusher = None
    _client = None
    _start_lock = Lock()


os.register_at_fork(after_in_child=_after_fork)
