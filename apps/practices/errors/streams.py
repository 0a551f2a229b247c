"""Streams that fail: before their first byte a problem document, after it a broken connection, never a clean end."""

import errno
from collections.abc import Iterable, Iterator
from itertools import chain

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors.answers import answer, report
from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import InternalError


class StreamBroken(ConnectionResetError):
    """Ends a response whose status is already sent.

    A connection reset: servers then close the connection without the closing chunk and without a second traceback.
    """


def guard_stream(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Produce the first chunk now, while the status can still change, and watch over the rest.

    Files go to the server as they are, so that it can use sendfile; asynchronous streams pass untouched.
    """
    if getattr(response, "file_to_stream", None) is not None or getattr(response, "is_async", False):
        return response
    chunks = iter(response)
    try:
        first = next(chunks, b"")
    except Exception as exception:  # noqa: BLE001 - whatever a generator raises becomes an answer, as in a view
        failed = answer(request, exception)
        failed._resource_closers += response._resource_closers  # type: ignore[attr-defined]  # the stream's own get closed too
        return failed
    response.streaming_content = _watched(request, chain((first,), chunks))  # type: ignore[attr-defined]  # streaming only
    return response


def _watched(request: HttpRequest, chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except Exception as exception:
        report(request, exception=exception, problem=problem_from(exception) or InternalError())
        raise StreamBroken(errno.ECONNRESET, "the response ended before it was complete") from exception
