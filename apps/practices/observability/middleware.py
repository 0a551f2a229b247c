"""The middleware that records every request: log context, access line, metrics."""

from collections.abc import Callable, Iterator

import structlog
from django.conf import settings
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from apps.practices.errors.responses import problem_type_of
from apps.practices.mechanisms import ids
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.responses import header_set
from apps.practices.observability.access import access_record


class ObservabilityMiddleware:
    """Puts the request's id on log lines and on the response (``X-Request-ID``), and records how the request went."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._reports = None
        if settings.OBSERVABILITY_SENTRY_DSN:
            from apps.practices.observability import sentry

            self._reports = sentry

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        facts = facts_of(request)
        request_id, span = facts.request_id, facts.span
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if span is not None:
            span.enter()
        if self._reports is not None:
            self._reports.request_started(request_id, span and span.trace)
        try:
            response = self.get_response(request)
            header_set(response, ids.HEADER, request_id)
            # A file is left to the server, which can use sendfile.
            if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
                response.streaming_content = Measured(response, request)
            else:
                sent = 0 if request.method == "HEAD" else _length(response)
                access_record(
                    request,
                    status=response.status_code,
                    sent=sent,
                    problem=problem_type_of(response),
                    cache=response.headers.get("Cache-Status"),
                )
        finally:
            if span is not None:
                span.leave()
            structlog.contextvars.clear_contextvars()
        return response


class Measured:
    """The chunks of a streamed response, counted; the request is recorded when the server closes it."""

    def __init__(self, response: StreamingHttpResponse, request: HttpRequest) -> None:
        self._chunks: Iterator[bytes] = iter(response.streaming_content)  # type: ignore[arg-type]  # never async: WSGI
        self._status = response.status_code
        self._measured = request
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sent += len(chunk)
            yield chunk

    def close(self) -> None:
        facts = facts_of(self._measured)
        with structlog.contextvars.bound_contextvars(request_id=facts.request_id):
            if facts.span is not None:
                facts.span.enter()
            access_record(self._measured, status=self._status, sent=self._sent)
            if facts.span is not None:
                facts.span.leave()


def _length(response: HttpResponseBase) -> int:
    if response.has_header("Content-Length"):
        return int(response["Content-Length"])
    return len(getattr(response, "content", b""))
