"""The replica: whether it is recent enough to be read, and which request may read it (`routing` asks both)."""

from __future__ import annotations

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

REPLICA = "replica"
PROBE_SECONDS = 1.0  # between two looks, by whichever request comes then
RETRY_SECONDS = 4.0  # the same after one that failed: it may have cost a request the wait for a connection
LAG_SECONDS = 5.0  # how far behind it may be; a look that is older than this says nothing any more

_WRITTEN = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_REPLAYED = "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, -1)"


class Replica:
    """What this process knows of the replica. Positions in the write-ahead log are bytes since its beginning.

    Only positions tell: a replica that is cut off from its primary has replayed all that it was sent, and its clock
    of the last transaction stands still as well when nobody writes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = -LAG_SECONDS
        self._pause = PROBE_SECONDS
        self._written: int | None = None  # the primary's position at that time
        self._fresh = False

    def is_fresh(self) -> bool:
        """Whether what it shows is at most about LAG_SECONDS old; one caller finds out for all, now and then."""
        now = time.monotonic()
        if now - self._looked_at < self._pause:
            return self._fresh
        if not self._lock.acquire(blocking=self._written is None or now - self._looked_at > LAG_SECONDS):
            return self._fresh
        try:
            if time.monotonic() - self._looked_at >= self._pause:
                self._probe()
            return self._fresh
        finally:
            self._lock.release()

    def _probe(self) -> None:
        was_fresh, looked_at, written = self._fresh, self._looked_at, self._written
        try:
            self._written = _position("default", _WRITTEN)
            self._looked_at = time.monotonic()
            is_recent = written is not None and self._looked_at - looked_at <= LAG_SECONDS
            self._fresh = _position(REPLICA, _REPLAYED) >= (written if is_recent and written else self._written)
            self._pause = PROBE_SECONDS
        except DatabaseError:
            self._looked_at, self._fresh, self._pause = time.monotonic(), False, RETRY_SECONDS
        if was_fresh and not self._fresh:
            count("dependency_away", dependency=REPLICA)


def _position(alias: str, sql: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def replica_check() -> str | None:
    """Return ``ok``, ``down`` (then the primary is read), or None when none is configured."""
    if REPLICA not in settings.DATABASES:
        return None
    return "ok" if replica.is_fresh() else "down"


replica = Replica()


@dataclass(slots=True)
class ReplicaPermit:
    """What one request may read from the replica; `is_allowed` is found out when it is first needed."""

    request: HttpRequest
    is_allowed: bool | None = None
    was_used: bool = False


current_permit: ContextVar[ReplicaPermit | None] = ContextVar("replica_ticket", default=None)


@contextmanager
def primary_reads() -> Iterator[None]:
    """Read from the primary alone, whatever the request may: what is stored in a cache outlives the moment."""
    held = current_permit.set(None)
    try:
        yield
    finally:
        current_permit.reset(held)
