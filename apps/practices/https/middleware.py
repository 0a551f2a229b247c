"""Requests with an unknown Host, and requests over plain HTTP."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase

from apps.practices.errors import HttpsRequired, is_api, problem_response
from apps.practices.mechanisms.facts import facts_of

# With a wildcard in ALLOWED_HOSTS, clients could otherwise fill the memory.
_REMEMBERED_HOSTS = 64


class HostMiddleware:
    """Raises DisallowedHost, as ``get_host()`` does, for a Host outside ALLOWED_HOSTS. Valid hosts are parsed once."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.allowed: set[str] = set()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        host = request.META.get("HTTP_HOST")
        if host not in self.allowed:
            request.get_host()
            if host and len(self.allowed) < _REMEMBERED_HOSTS:
                self.allowed.add(host)
        return self.get_response(request)


class HttpsMiddleware:
    """Redirects reads of pages over plain HTTP to PUBLIC_URL, and refuses all other requests over plain HTTP.

    API calls are not redirected: a client that follows redirects would keep sending its token in plain text. Health checks,
    which load balancers send over plain HTTP, are answered by a middleware above.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.required = settings.SECURE_SSL_REDIRECT

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self.required and facts_of(request).scheme != "https":
            return _refusal(request)
        return self.get_response(request)


def _refusal(request: HttpRequest) -> HttpResponse:
    if is_api(request) or request.method not in ("GET", "HEAD"):
        return problem_response(request, HttpsRequired())
    return HttpResponsePermanentRedirect(f"{settings.PUBLIC_URL}{request.get_full_path()}")
