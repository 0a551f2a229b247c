"""Primary keys that sort by time: UUIDv7 (RFC 9562, section 5.7)."""

from datetime import datetime
from uuid import UUID

from uuid_utils import compat

_RANDOM_BITS = 80  # after the 48 bits of milliseconds, including version and variant


def uuid7() -> UUID:
    """Return a new UUIDv7. New rows are appended at the end of the primary key's index.

    It is generated in Python, so a row's id is known before the row is stored.
    """
    return compat.uuid7()


def uuid7_floor(at: datetime) -> UUID:
    """Return the smallest UUIDv7 for the given time, for range queries."""
    return UUID(int=int(at.timestamp() * 1000) << _RANDOM_BITS)
