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
from gunicorn.http.errors import ParseException

from apps.practices.errors import BodyTooLarge, Malformed, Problem

CHUNK = 64 * 1024


def chunked(request: HttpRequest) -> bool:
    """Tell whether a body follows whose length the request does not state (RFC 9112, section 7.1)."""
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()


class BodyTooSlow(Problem):
    """A body of unknown length did not arrive in time: it would hold a thread for as long as its sender likes."""

    status = 408
    type = "body-too-slow"
    title = "Body too slow"
    explanation = (
        "A body sent without Content-Length has to be read whole before the request is looked at, and it did not arrive "
        "in time. State its length, or send it faster."
    )


def spool(request: HttpRequest, body: IO[bytes], bound: int) -> None:
    """Read a chunked body into ``body`` and give the request that body with its length.

    Django takes a request without Content-Length for one without a body. Raises ``BodyTooLarge`` when there is more than
    ``bound`` bytes, ``BodyTooSlow`` when it takes longer than ``VALIDATION_SPOOL_SECONDS``, ``Malformed`` when it breaks off
    or its chunks are not what they say.
    """
    source = request.META["wsgi.input"]
    deadline = time.monotonic() + settings.VALIDATION_SPOOL_SECONDS
    size = 0
    with _patience(request, settings.VALIDATION_SPOOL_SECONDS):
        while chunk := _read(source, min(CHUNK, bound + 1 - size), deadline=deadline):
            size += len(chunk)
            if size > bound:
                raise BodyTooLarge(f"At most {bound} bytes are accepted here.")
            body.write(chunk)
    body.seek(0)
    request.META["CONTENT_LENGTH"] = str(size)
    writable: Any = request  # Django has no public way to give a request its body
    writable._stream = LimitedStream(cast("BytesIO", body), size)


def _read(source: IO[bytes], size: int, *, deadline: float) -> bytes:
    try:
        chunk = source.read(size)
    except TimeoutError as error:
        raise BodyTooSlow from error
    except (OSError, ParseException) as error:
        raise Malformed("The body breaks off, or is not chunked as it says.") from error
    if time.monotonic() > deadline:
        raise BodyTooSlow
    return chunk


def drain(request: HttpRequest) -> None:
    """Read and drop what is left of a body, within ``VALIDATION_DRAIN_BYTES`` and ``VALIDATION_DRAIN_SECONDS``.

    A sender that is gone has nothing left; one that claims more than the bound is not waited for.
    """
    left: int = settings.VALIDATION_DRAIN_BYTES
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or len(length) > 18 or int(length) > left:
        return
    deadline = time.monotonic() + settings.VALIDATION_DRAIN_SECONDS
    body: Any = request
    # A chunked body that was not spooled has no length, and to Django no content.
    source = body._stream if request.META.get("CONTENT_LENGTH") else request.META["wsgi.input"]
    with (
        _patience(request, settings.VALIDATION_DRAIN_SECONDS),
        contextlib.suppress(OSError, ParseException, ValueError),
    ):
        # ValueError: a spooled body, read to its end, is closed already.
        while left > 0 and time.monotonic() < deadline and (chunk := source.read(min(CHUNK, left))):
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
