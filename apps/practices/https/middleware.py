"""What happens to a request that came over plain HTTP."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase

from apps.practices.errors import HttpsRequired, is_api, problem_response

# Bounds what a wildcard in ALLOWED_HOSTS could fill.
_REMEMBERED_HOSTS = 64


class HttpsMiddleware:
    """Redirects reads of pages to the public https address and refuses everything else with a problem.

    API calls are never redirected: a client that follows quietly would go on sending its token in clear. An unknown Host
    is refused first. Health checks, which come from inside without a scheme, are answered by a middleware above.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.required = settings.SECURE_SSL_REDIRECT
        self.allowed: set[str] = set()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        self._check_host(request)
        if self.required and not request.is_secure():
            return _refusal(request)
        return self.get_response(request)

    def _check_host(self, request: HttpRequest) -> None:
        """Raise DisallowedHost, as ``get_host()`` does; a value that was right once is not parsed again."""
        host = request.META.get("HTTP_HOST")
        if host not in self.allowed:
            request.get_host()
            if host and len(self.allowed) < _REMEMBERED_HOSTS:
                self.allowed.add(host)


def _refusal(request: HttpRequest) -> HttpResponse:
    if is_api(request) or request.method not in ("GET", "HEAD"):
        return problem_response(request, HttpsRequired())
    return HttpResponsePermanentRedirect(f"{settings.PUBLIC_URL}{request.get_full_path()}")
