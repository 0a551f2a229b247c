"""The thread that sends this process's numbers to Redis every second, and its row every five.

While Redis is unavailable nothing is lost: the difference to the numbers last sent keeps growing, and is sent once Redis is back.
"""

import atexit
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Lock, Thread

import redis
import structlog

from apps.practices.mechanisms import metrics_numbers, metrics_process, metrics_refusals, metrics_store

INTERVAL = 1.0
BEAT = 5.0  # seconds between two writes of the process's row

logger = structlog.get_logger(__name__)


class Flusher:
    """The thread, and what it has sent."""

    def __init__(self, *, sent: Mapping[bytes, float]) -> None:
        self.sent = dict(sent)
        self._heart = metrics_process.Heart()
        self._beat_at: float | None = None  # by the monotonic clock
        self._lock = Lock()
        self._stop = Event()
        self._failing = False
        self._full = False
        self._thread = Thread(target=self._run, name="metrics-flush", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and send the last increments, waiting for Redis at most twice its timeout."""
        self._stop.set()
        self._thread.join(timeout=2 * metrics_store.TIMEOUT)
        if self.flush() and self._beat_at is not None:
            with suppress(redis.RedisError):
                metrics_store.process_ended(self._heart.id)

    def flush(self) -> bool:
        """Send the increments; return False if Redis did not confirm them (they are then sent again).

        Redis may have executed what it did not confirm: after a timeout, a second may be counted twice.
        """
        with self._lock:
            now, slowest, refusals = metrics_numbers.numbers(), metrics_numbers.slowest(), metrics_refusals.refusals()
            sent = self.sent
            gained = {field: value - sent.get(field, 0.0) for field, value in now.items() if value != sent.get(field)}
            try:
                if gained:
                    self._refused(metrics_store.add(gained, slowest, at=time.time()))
                    self.sent = now
                    metrics_numbers.slowest_sent(slowest)
                if refusals:
                    metrics_refusals.refusals_add(refusals, at=time.time())
                    metrics_refusals.refusals_sent(refusals)
            except redis.RedisError as error:
                if not self._failing:
                    logger.warning("metrics_flush_failed", error=type(error).__name__)
                self._failing = True
                return False
            self._failing = False
            return True

    def _refused(self, number: int) -> None:
        if number and not self._full:
            logger.warning("metrics_full", most=metrics_store.MOST_FIELDS, refused=number)
        self._full = bool(number)

    def _run(self) -> None:
        self._beat()
        while not self._stop.wait(INTERVAL):
            self._beat()
            self.flush()

    def _beat(self) -> None:
        """Write this process's row if it is time to."""
        now = time.monotonic()
        if self._beat_at is not None and now - self._beat_at < BEAT:
            return
        process = self._heart.beat()
        try:
            if self._beat_at is None:
                metrics_store.process_started(process)
            metrics_store.process_write(process)
        except redis.RedisError:
            return  # flush() says so
        self._beat_at = now


_flusher: Flusher | None = None
_sent: dict[bytes, float] = {}  # what the parent of this process, or an earlier flusher, has sent
_start_lock = Lock()


def flush() -> None:
    """Send this process's increments now; raise FleetUnavailable if Redis does not answer."""
    if _flusher is not None and not _flusher.flush():
        raise metrics_store.FleetUnavailable


def start() -> None:
    """Start this process's flusher unless it runs. Every count calls this, so that it starts after any fork."""
    if _flusher is None:
        _flusher_make()


def _flusher_make() -> None:
    global _flusher
    with _start_lock:
        if _flusher is None:
            flusher = Flusher(sent=_sent)
            flusher.start()
            _flusher = flusher
            # A thread killed at interpreter shutdown may hold a connection's lock, for which the shutdown then waits.
            atexit.register(shutdown)


def shutdown() -> None:
    """Send the last increments and close the connection; called at an orderly end of the process."""
    global _flusher, _sent
    if _flusher is not None:
        _flusher.stop()
        _sent, _flusher = _flusher.sent, None
    metrics_store.close()


def _after_fork() -> None:
    """Reset a child process: it has its parent's numbers, of which it must send none, but not its thread."""
    global _flusher, _sent, _start_lock
    _sent = metrics_numbers.numbers()
    _flusher = None
    _start_lock = Lock()


os.register_at_fork(after_in_child=_after_fork)
