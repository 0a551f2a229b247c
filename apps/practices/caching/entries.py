"""Cache entries: a body, the tag versions that it was built under, and its age."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

MAX_BYTES = 256 * 1024  # a larger body is served but not cached
FORMAT = 1  # of the stored bytes; an entry in another format is a miss


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True)
class Entry:
    """A cached body: created at a Unix time, fresh for ``ttl`` seconds, usable for ``stale`` more."""

    body: bytes
    created: float
    ttl: float
    stale: float = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def is_fresh(self, now: float) -> bool:
        """Return whether the entry is within its ``ttl``."""
        return now < self.created + self.ttl

    def is_usable(self, now: float) -> bool:
        """Return whether the entry may still be served while a new one is built."""
        return now < self.created + self.ttl + self.stale

    def seconds_left(self, now: float) -> int:
        """Return for how many seconds the entry stays fresh; negative once it is stale."""
        return int(self.created + self.ttl - now)


def entry_to_bytes(entry: Entry) -> bytes:
    """Serialize an entry: one line of JSON, then the body unchanged."""
    head = [FORMAT, entry.created, entry.ttl, entry.stale, entry.tags, entry.headers]
    return orjson.dumps(head) + b"\n" + entry.body


def entry_from_bytes(stored: bytes | None) -> Entry | None:
    """Parse a serialized entry; return None for no bytes, or for another format."""
    if not stored:
        return None
    head, separator, body = stored.partition(b"\n")
    try:
        version, created, ttl, stale, tags, headers = orjson.loads(head)
    except ValueError:
        return None
    if version != FORMAT or not separator:
        return None
    return Entry(body=body, created=created, ttl=ttl, stale=stale, tags=tags, headers=headers)
