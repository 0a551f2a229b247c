"""The middleware that makes a problem document of every error."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.practices.errors.handler import respond
from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import problem_for_status
from apps.practices.errors.responses import ProblemResponse, is_api, prefers_html, problem_response
from apps.practices.errors.streams import guard_stream

# Headers that describe the body, which is replaced.
_OF_THE_BODY = frozenset(
    {"content-type", "content-length", "content-encoding", "etag", "last-modified", "cache-control", "expires"}
)


class ProblemMiddleware:
    """Turns exceptions of plain views and other error responses into problem documents, and guards streams."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.streaming:
            return guard_stream(request, response)
        if response.status_code < 400 or isinstance(response, ProblemResponse):
            return response
        if getattr(response, "problem_exempt", False):
            return response
        if _is_page(request, response):
            if settings.DEBUG:  # Django's traceback page has inline styles and scripts
                response._csp_exempt = True  # type: ignore[attr-defined]  # read by django-csp
            return response
        return _converted(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the problem response to what a view raised. In development, a browser gets Django's traceback page."""
        if settings.DEBUG and not is_api(request) and prefers_html(request) and problem_from(exception) is None:
            return None
        return respond(request, exception)


def _is_page(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether a view rendered its own error page: a form to correct, or Django's traceback in development."""
    is_html = response.headers.get("Content-Type", "").startswith("text/html")
    return is_html and bool(getattr(response, "content", b"")) and not is_api(request) and prefers_html(request)


def _converted(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    kept = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_BODY}
    converted = problem_response(request, problem_for_status(response.status_code, headers=kept))
    converted.cookies = response.cookies
    converted._resource_closers += response._resource_closers  # type: ignore[attr-defined]  # both bodies get closed
    return converted
