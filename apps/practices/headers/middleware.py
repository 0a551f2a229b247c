"""The security headers of every response, and its content security policy."""

from collections.abc import Callable
from typing import Any

from corsheaders.middleware import CorsMiddleware
from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders

from apps.practices.mechanisms.responses import header_of, vary_add

# Set by django-csp's decorators on a response with its own policy.
_DECORATED = ("_csp_exempt", "_csp_config", "_csp_update", "_csp_replace")

BODILESS = (204, 304)  # no Content-Length (RFC 9110, 8.6)


class HeadersMiddleware:
    """Adds Content-Length, and those of ``HEADERS_FIXED`` and ``HEADERS_EXTRA`` that the view has not set."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        # Django validates names and values here, once. All responses share the pairs: 2 µs for each response instead of 14.
        self.headers = tuple(ResponseHeaders({**settings.HEADERS_FIXED, **settings.HEADERS_EXTRA})._store.items())

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        present = response.headers._store
        for name, header in self.headers:
            if name not in present:
                present[name] = header
        # Without it the server sends chunks, the last one separately. A process that dies in between would leave half a response.
        if (
            isinstance(response, HttpResponse)
            and "content-length" not in present
            and response.status_code not in BODILESS
        ):
            present["content-length"] = ("Content-Length", str(len(response.content)))
        return response


class PolicyMiddleware(CSPMiddleware):
    """django-csp with policies built once: the configured one for pages, and one that allows nothing for everything else.

    For pages that use ``request.csp_nonce`` or a decorator of django-csp, django-csp builds the policy.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.page_policy = build_policy()
        [self.data_policy] = ResponseHeaders({HEADER: settings.HEADERS_DATA_POLICY})._store.items()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response: Any = self.get_response(request)
        return self.process_response(request, response)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not (header_of(response, "content-type") or "").startswith("text/html"):
            response.headers._store.setdefault(*self.data_policy)
            return response
        if getattr(request, "_csp_nonce", None) or _is_decorated(response):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, self.page_policy)
        return response


class OriginMiddleware(CorsMiddleware):
    """django-cors-headers; of a request without Origin, it reads no headers."""

    def __call__(self, request: HttpRequest) -> Any:
        if "HTTP_ORIGIN" in request.META or request.method == "OPTIONS":
            return super().__call__(request)
        response: Any = self.get_response(request)
        if self.is_enabled(request):
            vary_add(response, "origin")
        return response


def _is_decorated(response: Any) -> bool:
    return any(hasattr(response, name) for name in _DECORATED)
