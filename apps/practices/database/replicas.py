"""The replica: whether it is recent enough to be read, and which requests may read it. Used by ``routing``."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest

from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.metrics_process import process_gauges, series

REPLICA = "replica"
PROBE_SECONDS = 1.0  # between two probes
RETRY_SECONDS = 4.0  # the same after a failed probe, which may have delayed a request
LAG_SECONDS = 5.0  # the largest lag, and the largest age of a probe

_WRITTEN = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_REPLAYED = "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, -1)"


class Replica:
    """What this process knows about the replica. Positions in the write-ahead log are bytes since its start.

    Positions are compared because a replica without a connection to its primary has replayed all that it received, and the
    time of its last transaction also stops when there are no writes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._probed_at = -LAG_SECONDS
        self._pause = PROBE_SECONDS
        self._written: int | None = None  # the primary's position at that time
        self._fresh = False
        self.is_behind = False  # by the last probe, and the primary is read in its place

    def is_fresh(self) -> bool:
        """Return whether its data is at most about LAG_SECONDS old. One caller per PROBE_SECONDS probes it."""
        now = time.monotonic()
        if now - self._probed_at < self._pause:
            return self._fresh
        if not self._lock.acquire(blocking=self._written is None or now - self._probed_at > LAG_SECONDS):
            return self._fresh
        try:
            if time.monotonic() - self._probed_at >= self._pause:
                self._probe()
            return self._fresh
        finally:
            self._lock.release()

    def _probe(self) -> None:
        was_fresh, probed_at, written = self._fresh, self._probed_at, self._written
        try:
            self._written = _position("default", _WRITTEN)
            self._probed_at = time.monotonic()
            is_recent = written is not None and self._probed_at - probed_at <= LAG_SECONDS
            self._fresh = _position(REPLICA, _REPLAYED) >= (written if is_recent and written else self._written)
            self._pause = PROBE_SECONDS
        except DatabaseError:
            self._probed_at, self._fresh, self._pause = time.monotonic(), False, RETRY_SECONDS
        self.is_behind = not self._fresh and written is not None  # the first probe has nothing to compare with
        if was_fresh and not self._fresh:
            count("dependency_unavailable", dependency=REPLICA)


def _position(alias: str, sql: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def replica_check() -> str | None:
    """Return ``ok``, ``down`` (the primary is read instead), or None without a replica."""
    if REPLICA not in settings.DATABASES:
        return None
    return "ok" if replica.is_fresh() else "down"


replica = Replica()


def _open() -> dict[str, float]:
    """Return 1 if the replica is not read, as of a breaker that is open; nothing without a replica."""
    if REPLICA not in settings.DATABASES:
        return {}
    return {series("shipshape_breaker_open", dependency=REPLICA): float(replica.is_behind)}


process_gauges(_open)


@dataclass(slots=True)
class ReplicaPermit:
    """The permit of one request to read from the replica. ``is_allowed`` is set when it is first needed."""

    request: HttpRequest
    is_allowed: bool | None = None
    was_used: bool = False


current_permit: ContextVar[ReplicaPermit | None] = ContextVar("replica_ticket", default=None)


@contextmanager
def primary_reads() -> Iterator[None]:
    """Read only from the primary, for example what is stored in a cache."""
    held = current_permit.set(None)
    try:
        yield
    finally:
        current_permit.reset(held)
