"""Tier one: the process's own memory, least recently used out first, bounded in entries and in bytes."""

import threading
from collections import OrderedDict

from apps.practices.caching.entries import Entry

OVERHEAD = 1024  # bytes an entry costs beside its body: objects, headers, tags, key


class LocalTier:
    """Entries with the moment (``time.monotonic``) at which their tags were last known to be current."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Entry, float]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> tuple[Entry, float] | None:
        """The entry and when it was last checked."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: str, entry: Entry, *, checked_at: float, max_entries: int, max_bytes: int) -> None:
        """Keep an entry, or note that it was checked again."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._bytes -= len(old[0].body) + OVERHEAD
            self._entries[key] = (entry, checked_at)
            self._bytes += len(entry.body) + OVERHEAD
            while self._entries and (len(self._entries) > max_entries or self._bytes > max_bytes):
                _, (evicted, _) = self._entries.popitem(last=False)
                self._bytes -= len(evicted.body) + OVERHEAD

    def drop(self, key: str) -> None:
        """Forget one entry."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._bytes -= len(old[0].body) + OVERHEAD

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What the entries take, bodies and estimated overhead."""
        return self._bytes
