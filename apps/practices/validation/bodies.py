"""Bodies of unknown length."""

import tempfile
from io import BytesIO
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest

CHUNK = 64 * 1024


def chunked(request: HttpRequest) -> bool:
    """Tell whether a body follows whose length the request does not state (RFC 9112, section 7.1)."""
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()


def spool(request: HttpRequest, body: IO[bytes], bound: int) -> bool:
    """Read a chunked body into ``body``, at most ``bound`` bytes of it, and give the request that body with its length.

    Django takes a request without Content-Length for one without a body. False when there is more than ``bound``.
    """
    source = request.META["wsgi.input"]
    size = 0
    while chunk := source.read(min(CHUNK, bound + 1 - size)):
        size += len(chunk)
        if size > bound:
            return False
        body.write(chunk)
    body.seek(0)
    request.META["CONTENT_LENGTH"] = str(size)
    writable: Any = request  # Django has no public way to give a request its body
    writable._stream = LimitedStream(cast("BytesIO", body), size)
    return True


def drain(request: HttpRequest) -> None:
    """Read and drop what is left of a body, at most ``VALIDATION_DRAIN_BYTES``; a sender that is gone has nothing left."""
    left: int = settings.VALIDATION_DRAIN_BYTES
    body: Any = request
    try:
        while left > 0 and (chunk := body._stream.read(min(CHUNK, left))):
            left -= len(chunk)
    except (OSError, ValueError):  # ValueError: the spooled body, read to its end, is closed already
        return


def spool_file() -> IO[bytes]:
    """Make the file that a chunked body goes to: in memory, beyond ``FILE_UPLOAD_MAX_MEMORY_SIZE`` on disk."""
    return tempfile.SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE)
