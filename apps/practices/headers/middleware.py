"""The security headers of every response, and its content security policy."""

from collections.abc import Callable
from typing import Any

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders

# Set by django-csp's decorators on a response whose policy differs.
_DECORATED = ("_csp_exempt", "_csp_config", "_csp_update", "_csp_replace")

BODILESS = (204, 304)  # RFC 9110, 8.6: no length of a body that there is not


class HeadersMiddleware:
    """Adds ``HEADERS_FIXED`` and ``HEADERS_EXTRA`` where a view has not decided otherwise, and the length of the body."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        # Names and values checked by Django here, once; the pairs are then shared by all answers (2 µs an answer instead of 14).
        self.headers = tuple(ResponseHeaders({**settings.HEADERS_FIXED, **settings.HEADERS_EXTRA})._store.items())

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        present = response.headers._store
        for name, header in self.headers:
            if name not in present:
                present[name] = header
        # Without it the server sends in chunks, the last of them by itself: a process that dies before leaves half an answer.
        if (
            isinstance(response, HttpResponse)
            and "content-length" not in present
            and response.status_code not in BODILESS
        ):
            present["content-length"] = ("Content-Length", str(len(response.content)))
        return response


class PolicyMiddleware(CSPMiddleware):
    """django-csp with its policy built once: for pages as configured, for everything else the one that allows nothing.

    Pages that use ``request.csp_nonce`` or one of django-csp's decorators take django-csp's own way.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.page_policy = build_policy()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault(HEADER, settings.HEADERS_DATA_POLICY)
            return response
        if getattr(request, "_csp_nonce", None) or _is_decorated(response):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, self.page_policy)
        return response


def _is_decorated(response: Any) -> bool:
    return any(hasattr(response, name) for name in _DECORATED)
