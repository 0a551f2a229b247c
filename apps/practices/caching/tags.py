"""Tags: random version ids in Redis that an entry must agree with to be served. A change removes the id; absent is a miss.

A write says ``tags_change()`` in its service; the change happens after the commit and never on a rollback. A process whose
change could not reach Redis stops trusting Redis's entries until it has (``is_settled``), and keeps trying.
"""

import atexit
import threading
import time
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from apps.practices.mechanisms.redis import redis_client

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
END_SECONDS = 1.0  # longer than Redis may take for an answer
REMEMBERED = 4096  # changes kept before those that no longer matter are dropped

_lock = threading.Lock()
_changed: dict[str, float] = {}  # tag -> when this process changed it (monotonic)
_pending: dict[str, float] = {}  # changes that Redis has not heard of
_retrier: threading.Thread | None = None
_ending = threading.Event()


@dataclass(frozen=True, slots=True)
class TagChange:
    """What ``transaction.on_commit`` runs."""

    tags: tuple[str, ...]

    def __call__(self) -> None:
        now = time.monotonic()
        with _lock:
            _forget_old(now)
            _changed.update(dict.fromkeys(self.tags, now))
        try:
            for start in range(0, len(self.tags), 1000):
                redis_client().unlink(*(tag_key(tag) for tag in self.tags[start : start + 1000]))
        except RedisError as error:
            logger.warning("cache_tags_pending", tags=len(self.tags), error=type(error).__name__)
            with _lock:
                _pending.update(dict.fromkeys(self.tags, now))
            _keep_trying()


def tags_change(*tags: str) -> None:
    """This function will make every entry that carries one of ``tags`` a miss, everywhere, once the transaction has committed.

    Outside a transaction it acts at once. Other processes see it within CACHE_LOCAL_SECONDS; with Redis away, within the
    lifetime of an entry (60 s at most for data that is written).
    """
    if tags:
        transaction.on_commit(TagChange(tuple(dict.fromkeys(tags))))


def changed_here(tags: tuple[str, ...], *, since: float) -> bool:
    """Whether this process has changed one of the tags at or after ``since`` (monotonic)."""
    return any(_changed.get(tag, 0.0) >= since for tag in tags) if _changed else False


def changed_in_transaction(tags: tuple[str, ...]) -> bool:
    """Whether the open transaction has changed one of the tags: what it reads is not yet anybody else's truth."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        return False
    wanted = set(tags)
    return any(
        isinstance(call[1], TagChange) and wanted.intersection(call[1].tags) for call in connection.run_on_commit
    )


def is_settled() -> bool:
    """Whether Redis knows of every change made here; tries to tell it when not."""
    if not _pending:
        return True
    with _lock:
        waiting = dict(_pending)
    try:
        names = list(waiting)
        for start in range(0, len(names), 1000):
            redis_client().unlink(*(tag_key(tag) for tag in names[start : start + 1000]))
    except RedisError:
        return False
    with _lock:
        for tag, when in waiting.items():
            if _pending.get(tag) == when:
                del _pending[tag]
        return not _pending


def tag_key(tag: str) -> str:
    """Where the tag's version id is."""
    return f"{settings.CACHING_PREFIX}:t:{tag}"


def tags_reset() -> None:
    """Forget what was changed and what is pending (tests)."""
    with _lock:
        _changed.clear()
        _pending.clear()


def _forget_old(now: float) -> None:
    if len(_changed) >= REMEMBERED:
        oldest = now - settings.CACHING_LOCAL_SECONDS - 1
        for tag in [tag for tag, when in _changed.items() if when < oldest]:
            del _changed[tag]


def _keep_trying() -> None:
    """Tell Redis from a thread, so that other processes' readers need not wait for the next request here."""
    global _retrier
    with _lock:
        if _retrier is None or not _retrier.is_alive():
            _retrier = threading.Thread(target=_retry, name="cache-tags", daemon=True)
            _retrier.start()


def _retry() -> None:
    while not is_settled() and not _ending.wait(RETRY_SECONDS):
        continue


@atexit.register
def _stop_trying() -> None:
    """End the thread: the interpreter's end cuts threads off where they are, be it inside a lock of the connections."""
    _ending.set()
    if _retrier is not None:
        _retrier.join(END_SECONDS)
