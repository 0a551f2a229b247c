"""Primary keys that sort by time."""

from uuid import UUID

from uuid_utils import compat


def uuid7() -> UUID:
    """Make a UUIDv7 (RFC 9562, section 5.7): new rows land at the right-hand end of the primary key's index.

    It is made in Python, so a row's id is known before the row is stored.
    """
    return compat.uuid7()
