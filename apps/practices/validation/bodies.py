"""Bodies as they come in: bounded in size and time for whoever reads them, and read to their end when nobody does."""

import contextlib
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest
from gunicorn.http.errors import ParseException

from apps.practices.errors import BodyTooLarge, Malformed, Problem, Unavailable
from apps.practices.mechanisms.facts import facts_of
from apps.practices.validation.clients import ClientSocket, TooManySlow

CHUNK = 64 * 1024


class BodyTooSlow(Problem):
    """A body did not arrive in time: it would hold a thread for as long as its sender likes."""

    status = 408
    type = "body-too-slow"
    title = "Body too slow"
    explanation = (
        "The body of the request arrived too slowly. Send it again, over a faster connection or in smaller parts."
    )


class TooManyUploads(Unavailable):
    """As many bodies as may arrive slowly at a time, in all or from one client, do so already."""

    status = 503
    type = "too-many-uploads"
    title = "Too many slow uploads at once"
    explanation = (
        "The body of the request did not arrive at once, and the service is waiting for as many others as it can, or for "
        "another one from the same address. Try again."
    )
    retry_after = 2


def is_chunked(request: HttpRequest) -> bool:
    """Return whether a body follows whose length the request does not state (RFC 9112, section 7.1)."""
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()


class Body:
    """The body of a request on its way in. Reading it raises the problem that its sender is to be told.

    ``bound``: in bytes, of a chunked body, which is counted as it comes in. BodyTooLarge (413) when there is more of it,
    BodyTooSlow (408) when it takes too long, TooManyUploads (503) when it is slow and others are, too, Malformed (400) when
    it breaks off or its chunks are not what they say.
    """

    def __init__(self, request: HttpRequest, *, bound: int) -> None:
        self._source: IO[bytes] = request.META["wsgi.input"]
        self._connection = client_socket(request)
        self._length = None if is_chunked(request) else int(request.META["CONTENT_LENGTH"])
        self._bound = bound
        self._received = 0
        self._is_over = self._is_broken = False
        limit = bound + 1 if self._length is None else self._length
        writable: Any = request  # Django has no public way to give a request its body
        writable._stream = LimitedStream(cast("Any", self), limit)
        if self._length is None:
            # Django and Django REST framework take a request without a length for one without a body. This is the most
            # that there may be; the end is where the chunks say.
            request.META["CONTENT_LENGTH"] = str(bound)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, or what there is until the end, however short the server's own reads are."""
        parts = [self._counted(self._source.read, size)]
        while parts[-1] and (left := size - sum(map(len, parts))):
            parts.append(self._counted(self._source.read, left))
        return b"".join(parts)

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self._source.readline, size)

    def drain(self) -> None:
        """Read and drop what is left, within ``VALIDATION_DRAIN_BYTES`` and ``VALIDATION_DRAIN_SECONDS`` of waiting.

        A sender that is gone has nothing left; one that claims more than the bound is not waited for.
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
            raise Malformed("The body breaks off, or is not chunked as it says.") from error
        self._received += len(data)
        if self._length is None and self._received > self._bound:
            raise BodyTooLarge(f"At most {self._bound} bytes are accepted here.")
        self._is_over = self._received == self._length if data or not size else True
        if self._is_over and self._connection is not None:
            self._connection.body_received()
        if self._is_over and self._length is not None and self._received < self._length:
            raise Malformed("The body breaks off: it is shorter than its Content-Length.")
        return data


def client_socket(request: HttpRequest) -> ClientSocket | None:
    """Return the connection of the request, where the server waits for clients within bounds (``project/threads.py``)."""
    connection = request.META.get("gunicorn.socket")
    return connection if isinstance(connection, ClientSocket) else None


def client_named(request: HttpRequest) -> None:
    """Tell the connection whose request it carries: slow clients are bounded by address, too."""
    connection = client_socket(request)
    if connection is not None:
        connection.client_is(facts_of(request).bucket)
