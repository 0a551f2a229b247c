"""The last word on errors: whatever comes out of the layers inside, what leaves is a problem document."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.practices.errors.answers import answer
from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import problem_for_status
from apps.practices.errors.responses import ProblemResponse, is_api, prefers_html, problem_response
from apps.practices.errors.streams import guard_stream

# They describe the body that is replaced.
_OF_THE_BODY = frozenset(
    {"content-type", "content-length", "content-encoding", "etag", "last-modified", "cache-control", "expires"}
)


class ProblemMiddleware:
    """Answers exceptions of plain views, converts foreign error bodies, and guards streams."""

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
            if settings.DEBUG:  # Django's page with the traceback brings its own styles and scripts
                response._csp_exempt = True  # type: ignore[attr-defined]  # read by django-csp
            return response
        return _converted(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer what a view raised. In development a browser gets Django's page with the traceback."""
        if settings.DEBUG and not is_api(request) and prefers_html(request) and problem_from(exception) is None:
            return None
        return answer(request, exception)


def _is_page(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether a view rendered its own page for a person: a form to correct, or Django's traceback in development."""
    is_html = response.headers.get("Content-Type", "").startswith("text/html")
    return is_html and bool(getattr(response, "content", b"")) and not is_api(request) and prefers_html(request)


def _converted(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    kept = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_BODY}
    converted = problem_response(request, problem_for_status(response.status_code, headers=kept))
    converted.cookies = response.cookies
    converted._resource_closers += response._resource_closers  # type: ignore[attr-defined]  # both bodies get closed
    return converted
