"""What the cache holds: bytes, the tag versions they were made under, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

MAX_BYTES = 256 * 1024  # a larger body is answered and not kept
FORM = 1  # of the stored bytes; another one is a miss


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One cached body. ``created`` is in seconds since the epoch; fresh for ``ttl`` seconds, usable for ``stale`` more."""

    body: bytes
    created: float
    ttl: float
    stale: float = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def is_fresh(self, now: float) -> bool:
        """Whether it may be served without a thought for its age."""
        return now < self.created + self.ttl

    def is_usable(self, now: float) -> bool:
        """Whether it may still be served while somebody makes the next one."""
        return now < self.created + self.ttl + self.stale

    def seconds_left(self, now: float) -> int:
        """Until it stops being fresh; negative once it has."""
        return int(self.created + self.ttl - now)


def entry_to_bytes(entry: Entry) -> bytes:
    """One line of JSON about the entry, then the body as it is."""
    head = [FORM, entry.created, entry.ttl, entry.stale, entry.tags, entry.headers]
    return orjson.dumps(head) + b"\n" + entry.body


def entry_from_bytes(stored: bytes | None) -> Entry | None:
    """The entry again; None when there is none or its form is not ours."""
    if not stored:
        return None
    head, separator, body = stored.partition(b"\n")
    try:
        form, created, ttl, stale, tags, headers = orjson.loads(head)
    except ValueError:
        return None
    if form != FORM or not separator:
        return None
    return Entry(body=body, created=created, ttl=ttl, stale=stale, tags=tags, headers=headers)
