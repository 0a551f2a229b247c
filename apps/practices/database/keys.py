"""Primary keys that sort by time."""

from datetime import datetime
from uuid import UUID

from uuid_utils import compat

_RANDOM_BITS = 80  # what follows the 48 bits of milliseconds; version and variant are among them


def uuid7() -> UUID:
    """Make a UUIDv7 (RFC 9562, section 5.7): new rows land at the right-hand end of the primary key's index.

    It is made in Python, so a row's id is known before the row is stored.
    """
    return compat.uuid7()


def uuid7_floor(at: datetime) -> UUID:
    """Give what every UUIDv7 made before that millisecond is below, and every later one is not."""
    return UUID(int=int(at.timestamp() * 1000) << _RANDOM_BITS)
