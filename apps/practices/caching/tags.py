"""Tags: random version ids in Redis. An entry is served only if it was built under the current version of all its tags.

A service that writes calls ``tags_change()``: after the commit, and never on a rollback, the tag's id is deleted, and an
absent id is a miss. If the change cannot reach Redis, the process ignores the entries in Redis until it can
(``is_settled``), and retries.
"""

import atexit
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.redis import redis_client

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
END_SECONDS = 1.0  # longer than the timeout of a Redis call
BATCH = 1000  # tags deleted by one command
REMEMBERED = 4096  # changes; beyond that, those too old to matter are dropped

_lock = threading.Lock()
_changed: dict[str, float] = {}  # tag -> when this process changed it (monotonic)
_pending: dict[str, float] = {}  # changes that have not reached Redis
_retrier: threading.Thread | None = None
_ending = threading.Event()
_thread = threading.local()  # may_be_open: whether its open transaction may have changed tags
_noted: ContextVar[dict[str, None] | None] = ContextVar("noted", default=None)  # tags that the request has changed


@dataclass(frozen=True, slots=True)
class TagChange:
    """The callback for ``transaction.on_commit``."""

    tags: tuple[str, ...]

    def __call__(self) -> None:
        now = time.monotonic()
        if (noted := _noted.get()) is not None:
            noted.update(dict.fromkeys(self.tags))
        with _lock:
            _forget_old(now)
            _changed.update(dict.fromkeys(self.tags, now))
            _pending.update(dict.fromkeys(self.tags, now))  # until Redis has it, other threads must not believe Redis
        try:
            _delete(self.tags)
        except RedisError as error:
            count("degraded", mode="cache_tags_pending")
            logger.warning("cache_tags_pending", tags=len(self.tags), error=type(error).__name__)
            _keep_trying()
        else:
            _sent(dict.fromkeys(self.tags, now))


def tags_change(*tags: str) -> None:
    """Invalidate every entry that has one of ``tags``, in all processes, once the transaction has committed.

    Without a transaction, do so now. Other processes see the change within CACHE_LOCAL_SECONDS; while Redis is
    unavailable, within the lifetime of an entry (at most 60 s for data that services write).
    """
    if tags:
        _thread.may_be_open = True
        transaction.on_commit(TagChange(tuple(dict.fromkeys(tags))))


def changed_here(tags: tuple[str, ...], *, since: float) -> bool:
    """Return whether this process has changed one of the tags at or after ``since`` (monotonic)."""
    return any(_changed.get(tag, 0.0) >= since for tag in tags) if _changed else False


@contextmanager
def changes_noted() -> Iterator[dict[str, None]]:
    """Collect the tags that this thread changes in the block, in their order."""
    noted: dict[str, None] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def changes_in_transaction() -> dict[str, None]:
    """Return the tags that the open transaction has changed, in their order."""
    connection = transaction.get_connection()
    changes = [call[1] for call in connection.run_on_commit if isinstance(call[1], TagChange)]
    return {tag: None for change in changes for tag in change.tags}


def changed_in_transaction(tags: tuple[str, ...]) -> bool:
    """Return whether the open transaction has changed one of the tags, so that what it reads must not be shared."""
    if not getattr(_thread, "may_be_open", False):
        return False  # without a look at the connection, for which Django asks asgiref
    if not transaction.get_connection().in_atomic_block:
        _thread.may_be_open = False
        return False
    return not changes_in_transaction().keys().isdisjoint(tags)


def is_settled() -> bool:
    """Return whether every change made in this process has reached Redis; try again to send those that have not."""
    if not _pending:
        return True
    with _lock:
        waiting = dict(_pending)
    try:
        _delete(tuple(waiting))
    except RedisError:
        return False
    return _sent(waiting)


def _sent(changes: dict[str, float]) -> bool:
    """Drop changes that have reached Redis, unless their tags have changed again; return whether none are left."""
    with _lock:
        for tag, when in changes.items():
            if _pending.get(tag) == when:
                del _pending[tag]
        return not _pending


def tag_key(tag: str) -> str:
    """Return the Redis key of the tag's version id."""
    return f"{settings.CACHING_PREFIX}:t:{tag}"


def _delete(tags: tuple[str, ...]) -> None:
    for start in range(0, len(tags), BATCH):
        redis_client().unlink(*(tag_key(tag) for tag in tags[start : start + BATCH]))


def tags_reset() -> None:
    """Forget all changes, sent and pending (for tests)."""
    with _lock:
        _changed.clear()
        _pending.clear()


def _forget_old(now: float) -> None:
    if len(_changed) >= REMEMBERED:
        oldest = now - settings.CACHING_LOCAL_SECONDS - 1
        for tag in [tag for tag, when in _changed.items() if when < oldest]:
            del _changed[tag]


def _keep_trying() -> None:
    """Start a thread that retries, so that other processes do not depend on the next request to this one."""
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
    """End the thread. Killed at interpreter shutdown, it could hold a lock of the connection pool for ever."""
    _ending.set()
    if _retrier is not None:
        _retrier.join(END_SECONDS)
