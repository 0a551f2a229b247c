"""Request bodies: reading them has limits of size and time, and what no view has read is read before the response."""

import contextlib
from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest
from gunicorn.http.errors import ParseException

from apps.practices.errors import BodyTooLarge, Malformed, Problem, Unavailable
from apps.practices.validation.clients import CHUNK, ClientSocket, TooManySlow, Upload


class BodyTooSlow(Problem, status=408, type="body-too-slow", title="Body too slow"):
    """A body that did not arrive in time, and would occupy a thread for as long as its sender wants."""

    explanation = "The request body arrived too slowly. Send it again over a faster connection, or in smaller parts."


class TooManyUploads(Unavailable, type="too-many-uploads", title="Too many slow uploads"):
    """A slow body, while the maximum number of slow bodies, in total or from one client, has been reached."""

    explanation = (
        "The request body arrived slowly, and the service is already waiting for the maximum number of slow bodies, "
        "in total or from your address. Try again."
    )
    retry_after = 2


def is_chunked(request: HttpRequest) -> bool:
    """Return whether the request has a body without a Content-Length (RFC 9112, section 7.1)."""
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()


class Body:
    """The body of a request while it arrives. Reading it raises problems.

    ``bound`` is the maximum size in bytes of a chunked body, which is counted while it arrives. BodyTooLarge (413) if it is
    larger, BodyTooSlow (408) if it takes too long, TooManyUploads (503) if it is slow while too many others are, Malformed
    (400) if it ends early or its chunks are invalid.
    """

    def __init__(self, request: HttpRequest, *, bound: int) -> None:
        self._source: IO[bytes] = request.META["wsgi.input"]
        self._connection = client_socket(request.META)
        self._length = None if is_chunked(request) else int(request.META["CONTENT_LENGTH"])
        self._bound = bound
        self._received = 0
        self._is_over = self._is_broken = False
        limit = bound + 1 if self._length is None else self._length
        writable: Any = request  # Django has no public way to give a request its body
        writable._stream = LimitedStream(cast("Any", self), limit)
        if self._length is None:
            # For Django and Django REST framework, a request without a length has no body. This is the maximum length;
            # the chunks determine the end.
            request.META["CONTENT_LENGTH"] = str(bound)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, or up to the end, even if the server returns less in each read."""
        parts = [self._counted(self._source.read, size)]
        while parts[-1] and (left := size - sum(map(len, parts))):
            parts.append(self._counted(self._source.read, left))
        return b"".join(parts)

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self._source.readline, size)

    def drain(self) -> None:
        """Read and drop what is left, within ``VALIDATION_DRAIN_BYTES`` and ``VALIDATION_DRAIN_SECONDS`` of waiting.

        A body that is longer than the limit, or whose sender is gone, is not read.
        """
        most: int = settings.VALIDATION_DRAIN_BYTES
        left = most if self._length is None else self._length - self._received
        if self._is_over or self._is_broken or left > most:
            return
        if self._connection is not None:
            self._connection.hurry(settings.VALIDATION_DRAIN_SECONDS)
        with contextlib.suppress(OSError, ParseException):
            while left > 0 and (data := self._source.read(min(CHUNK, left))):
                left -= len(data)

    def _counted(self, read: Any, size: int) -> bytes:
        try:
            data: bytes = read(size)
        except TooManySlow as error:
            self._is_broken = True
            raise TooManyUploads from error
        except TimeoutError as error:
            self._is_broken = True
            raise BodyTooSlow from error
        except (OSError, ParseException) as error:
            self._is_broken = True
            raise Malformed("The body ended early, or its chunked encoding is invalid.") from error
        self._received += len(data)
        if self._length is None and self._received > self._bound:
            raise BodyTooLarge(f"The maximum body size here is {self._bound} bytes.")
        self._is_over = self._received == self._length if data or not size else True
        if self._is_over and self._connection is not None:
            self._connection.body_received()
        if self._is_over and self._length is not None and self._received < self._length:
            raise Malformed("The body ended early: it is shorter than its Content-Length.")
        return data


def client_socket(meta: Mapping[str, Any]) -> ClientSocket | Upload | None:
    """Return what limits how long the server waits for a client (``project/threads.py``, ``project/granian.py``)."""
    connection = meta.get("gunicorn.socket") or getattr(meta.get("wsgi.input"), "raw", None)
    return connection if isinstance(connection, ClientSocket | Upload) else None


def client_set(meta: Mapping[str, Any], *, bucket: str) -> None:
    """Set the client of a request's connection, since slow clients are also limited by address."""
    connection = client_socket(meta)
    if connection is not None:
        connection.client_is(bucket)
