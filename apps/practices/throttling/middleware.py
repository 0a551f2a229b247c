"""ThrottlingMiddleware: the limit by address on every request, and the anonymous limit on API requests."""

from collections.abc import Callable

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import is_api, problem_response
from apps.practices.mechanisms.facts import facts_of
from apps.practices.throttling.limiter import limit_for
from apps.practices.throttling.requests import acquire_for, has_credentials, is_verified, limits_to_headers, too_many

SERVER_ERROR = 500


class ThrottlingMiddleware:
    """Counts each request in one round trip to Redis, before the middlewares below can refuse it.

    A request without credentials counts for "address" and "anon" at once. With credentials, it counts for "anon" only if
    they are not verified: in the DRF throttles, or after the response, if no throttle ran (a refused token, a path that does
    not exist, a view without authentication, a body that is too large). A CORS preflight, which never has credentials,
    counts for "address" only. A 5xx does not count for "anon", since the failure may have prevented verification.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        may_be_anonymous = is_api(request) and not _is_preflight(request)
        address = limit_for("address", facts_of(request).bucket)
        if not acquire_for(request, address, is_anonymous=may_be_anonymous and not has_credentials(request)):
            response = _refusal(request)
        else:
            response = self.get_response(request)
            is_unverified = response.status_code < SERVER_ERROR and not is_verified(request)
            if may_be_anonymous and is_unverified and not acquire_for(request, is_anonymous=True):
                response = _refusal(request)
        if is_api(request):
            limits_to_headers(request, response)
        return response


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META


def _refusal(request: HttpRequest) -> HttpResponseBase:
    """Return the 429, with the CORS headers that let a browser app read it: CorsMiddleware is below this middleware."""
    response = problem_response(request, too_many(request))
    if not _is_preflight(request):
        CorsMiddleware(lambda _: response).add_response_headers(request, response)
    return response
