"""Streams that fail: a problem document before the first byte, a broken connection after it, never a clean end."""

import errno
from collections.abc import Iterable, Iterator
from itertools import chain

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors.handler import report, respond
from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import InternalError


class StreamBroken(ConnectionResetError):
    """A failure after the status has been sent.

    Because it is a connection reset, servers close the connection without the last chunk and without a second traceback.
    """


def guard_stream(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the response with its first chunk produced, while the status can still change, and the rest guarded.

    Files are left to the server, which can use sendfile. Asynchronous streams are not changed.
    """
    if getattr(response, "file_to_stream", None) is not None or getattr(response, "is_async", False):
        return response
    chunks = iter(response)
    try:
        first = next(chunks, b"")
    except Exception as exception:  # noqa: BLE001 - any exception becomes a response, as in a view
        failed = respond(request, exception)
        failed._resource_closers += response._resource_closers  # type: ignore[attr-defined]  # the stream's own resources are closed too
        return failed
    response.streaming_content = _watched(request, chain((first,), chunks))  # type: ignore[attr-defined]  # streaming only
    return response


def _watched(request: HttpRequest, chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except Exception as exception:
        report(request, exception=exception, problem=problem_from(exception) or InternalError())
        raise StreamBroken(errno.ECONNRESET, "the response ended before it was complete") from exception
