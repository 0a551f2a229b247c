"""The outermost middleware: mints the request id, writes the access line, counts."""

from collections.abc import Callable, Iterator
from time import perf_counter

import structlog
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from apps.practices.mechanisms import ids
from apps.practices.observability import access


class ObservabilityMiddleware:
    """Gives every request an id (``request.request_id``, ``X-Request-ID`` on the answer) and records how it went."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        record = access.AccessRecord(request=request, request_id=ids.request_id_new(), started=perf_counter())
        request.request_id = record.request_id  # type: ignore[attr-defined]  # read by errors, jobs and views
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=record.request_id)
        try:
            response = self.get_response(request)
            response[ids.HEADER] = record.request_id
            # A file of the disk is left to the server, which may have the system send it.
            if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
                response.streaming_content = Measured(response, record)
            else:
                sent = 0 if request.method == "HEAD" else _length(response)
                record.finish(status=response.status_code, sent=sent, problem=getattr(response, "problem_type", None))
        finally:
            structlog.contextvars.clear_contextvars()
        return response


class Measured:
    """The chunks of a streamed answer, counted; its record is finished when the server closes it."""

    def __init__(self, response: StreamingHttpResponse, record: access.AccessRecord) -> None:
        self._chunks: Iterator[bytes] = iter(response.streaming_content)  # type: ignore[arg-type]  # never async: WSGI
        self._status = response.status_code
        self._record = record
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sent += len(chunk)
            yield chunk

    def close(self) -> None:
        with structlog.contextvars.bound_contextvars(request_id=self._record.request_id):
            self._record.finish(status=self._status, sent=self._sent)


def _length(response: HttpResponseBase) -> int:
    if response.has_header("Content-Length"):
        return int(response["Content-Length"])
    return len(getattr(response, "content", b""))
