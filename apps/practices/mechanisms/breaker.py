"""A circuit breaker: after a few failures in a row, calls are refused at once until one probe has succeeded."""

import threading
import time
from collections.abc import Callable

import structlog

from apps.practices.mechanisms.metrics import count

logger = structlog.get_logger(__name__)

FAILURES = 2  # in a row: one slow answer on a busy machine is not an outage
FIRST_PAUSE = 0.5  # seconds until the first probe; doubles with every probe that fails
LONGEST_PAUSE = 4.0  # unless the dependency asks for another


class Breaker:
    """Counts failures of one dependency; a change of state, never a call, is a log line and ``dependency_away_total``."""

    def __init__(
        self, name: str, *, longest_pause: float = LONGEST_PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.answered_at = -float("inf")  # by the clock: when a call last succeeded
        self._longest_pause = longest_pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._retry_at: float | None = None  # None: closed, calls pass

    @property
    def is_suspicious(self) -> bool:
        """Whether the last call that ended was a failure."""
        return self._failures > 0

    def allows(self) -> bool:
        """Whether to try a call: always when closed; when open, one caller a pause is let through as the probe."""
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
        """Record an answer."""
        self.answered_at = self._clock()
        if self._failures == 0 and self._retry_at is None:
            return
        with self._lock:
            was_open = self._retry_at is not None
            self._failures, self._pause, self._retry_at = 0, FIRST_PAUSE, None
        if was_open:
            logger.warning("dependency_back", dependency=self.name)

    def failed(self, error: BaseException) -> None:
        """Record a call that got no answer."""
        with self._lock:
            self._failures += 1
            was_open = self._retry_at is not None
            if was_open:
                self._pause = min(self._pause * 2, self._longest_pause)
            elif self._failures < FAILURES:
                return
            self._retry_at = self._clock() + self._pause
        if not was_open:
            count("dependency_away", dependency=self.name)
            logger.warning("dependency_away", dependency=self.name, error=type(error).__name__)

    def reset(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._failures, self._pause, self._retry_at = 0, FIRST_PAUSE, None
