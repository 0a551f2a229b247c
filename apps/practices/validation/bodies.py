"""Bodies of unknown length, and bodies that nobody reads."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
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
    """Read and drop what is left of a body, within ``VALIDATION_DRAIN_BYTES`` and ``VALIDATION_DRAIN_SECONDS``.

    A sender that is gone has nothing left; one that claims more than the bound is not waited for.
    """
    left: int = settings.VALIDATION_DRAIN_BYTES
    if int(request.META.get("CONTENT_LENGTH") or "0") > left:
        return
    deadline = time.monotonic() + settings.VALIDATION_DRAIN_SECONDS
    body: Any = request
    with _patience(request, settings.VALIDATION_DRAIN_SECONDS), contextlib.suppress(OSError, ValueError):
        # ValueError: a spooled body, read to its end, is closed already.
        while left > 0 and time.monotonic() < deadline and (chunk := body._stream.read(min(CHUNK, left))):
            left -= len(chunk)


@contextlib.contextmanager
def _patience(request: HttpRequest, seconds: float) -> Iterator[None]:
    """Bound each read from the client, where the server lets us (gunicorn): a thread is not to wait for a silent one."""
    connection: socket.socket | None = request.META.get("gunicorn.socket")
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(seconds)
    try:
        yield
    finally:
        connection.settimeout(before)


def spool_file() -> IO[bytes]:
    """Make the file that a chunked body goes to: in memory, beyond ``FILE_UPLOAD_MAX_MEMORY_SIZE`` on disk."""
    return tempfile.SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE)
