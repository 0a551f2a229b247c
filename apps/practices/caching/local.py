"""The local tier: this process's memory, bounded in bytes; least recently used entries leave first."""

import threading

from cachetools import LRUCache

from apps.practices.caching.entries import Entry

OVERHEAD = 1024  # bytes of an entry beside its body: objects, headers, tags, key


class LocalTier:
    """Entries, each with the time (``time.monotonic``) at which its tags were last known to be current."""

    def __init__(self, *, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._entries: LRUCache[str, tuple[Entry, float]] = LRUCache(max_bytes, getsizeof=_size)

    def get(self, key: str) -> tuple[Entry, float] | None:
        """Return the entry and the time of its last check; None if it is not here."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: str, entry: Entry, *, checked_at: float) -> None:
        """Store an entry, or a later check of it. An entry larger than the tier is not stored."""
        with self._lock:
            self._entries.pop(key, None)
            if _size((entry, checked_at)) <= self._entries.maxsize:
                self._entries[key] = (entry, checked_at)

    def drop(self, key: str) -> None:
        """Forget one entry."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()


def _size(kept: tuple[Entry, float]) -> int:
    return len(kept[0].body) + OVERHEAD
