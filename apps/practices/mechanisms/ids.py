"""Request ids: generated for each request, and known to all code that works for it."""

import re

import structlog
from uuid_utils import uuid7

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,127}")


def request_id_new() -> str:
    """Generate an id: a UUIDv7 (RFC 9562), so that ids sort by time."""
    return str(uuid7())


def current_request_id() -> str | None:
    """Return the id of the current request; None outside a request.

    In a Celery task it is the id of the request that submitted the task, taken from the message's headers.
    """
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return request_id if isinstance(request_id, str) else None


def parent_id(header: str | None) -> str | None:
    """Return an inbound id if it may be logged (8 to 128 letters, digits, ``._-``), else None.

    The client chose it, so it never becomes the id of the request.
    """
    return header if header and _WELL_FORMED.fullmatch(header) else None
