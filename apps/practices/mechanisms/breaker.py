"""A circuit breaker: after consecutive failures, calls are refused at once until a probe succeeds."""

import threading
import time
from collections.abc import Callable, Mapping
from weakref import WeakSet

import structlog

from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.metrics_process import process_gauges, series

logger = structlog.get_logger(__name__)

FAILURES = 2  # in a row; one slow answer on a busy machine is not an outage
FIRST_PAUSE = 0.5  # seconds until the first probe; doubled by every probe that fails
RECENT = 60.0  # seconds after its last probe was due in which a breaker counts as open, in metrics
LONGEST_PAUSE = 4.0  # seconds; a dependency may have its own

_breakers: "WeakSet[Breaker]" = WeakSet()


class Breaker:
    """The health of one dependency. Changes of state, not calls, are logged and counted (``dependency_unavailable_total``)."""

    def __init__(
        self, name: str, *, longest_pause: float = LONGEST_PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.answered_at = -float("inf")  # when a call last succeeded, by the clock
        self._longest_pause = longest_pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._retry_at: float | None = None  # None while the breaker is closed
        _breakers.add(self)

    @property
    def is_suspicious(self) -> bool:
        """Return whether the last call failed."""
        return self._failures > 0

    @property
    def is_open(self) -> bool:
        """Return whether calls are refused, or somebody's probe failed within the last RECENT seconds."""
        due = self._retry_at
        return due is not None and self._clock() < due + RECENT

    def allows(self) -> bool:
        """Return whether to try a call: always while closed; while open, one caller after each pause, as the probe."""
        if self._retry_at is None:
            return True
        with self._lock:
            if self._retry_at is None:
                return True
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause
            return True

    def succeeded(self) -> None:
        """Record a call that succeeded."""
        self.answered_at = self._clock()
        if self._failures == 0 and self._retry_at is None:
            return
        with self._lock:
            was_open = self._retry_at is not None
            self._failures, self._pause, self._retry_at = 0, FIRST_PAUSE, None
        if was_open:
            logger.warning("breaker_closed", dependency=self.name)

    def failed(self, error: BaseException) -> None:
        """Record a call that failed."""
        with self._lock:
            self._failures += 1
            was_open = self._retry_at is not None
            if was_open:
                self._pause = min(self._pause * 2, self._longest_pause)
            elif self._failures < FAILURES:
                return
            self._retry_at = self._clock() + self._pause
        if not was_open:
            count("dependency_unavailable", dependency=self.name)
            logger.warning("breaker_opened", dependency=self.name, error=type(error).__name__)

    def reset(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._failures, self._pause, self._retry_at = 0, FIRST_PAUSE, None


def _open() -> Mapping[str, float]:
    """Return 1 for each dependency whose breaker is open, 0 for the others.

    Only a call closes a breaker, so one whose probe is overdue says nothing about the dependency: its process is idle.
    """
    found: dict[str, float] = {}
    for breaker in list(_breakers):
        key = series("shipshape_breaker_open", dependency=breaker.name)
        found[key] = max(found.get(key, 0.0), float(breaker.is_open))
    return found


process_gauges(_open)
