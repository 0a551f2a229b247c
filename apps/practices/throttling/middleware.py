"""ThrottlingMiddleware: the flood limit for every request, the anonymous limit for API requests without a verified token."""

from collections.abc import Callable

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import is_api
from apps.practices.mechanisms.facts import facts_of
from apps.practices.throttling.anonymous import anon_limit, anon_mark, carries_credentials, is_verified
from apps.practices.throttling.headers import limits_to_headers, record, recorded, refusal
from apps.practices.throttling.limiter import acquire, limit_for

SERVER_ERROR = 500


class ThrottlingMiddleware:
    """One round trip to Redis on the way in, before anything else is looked at: what is refused below it counts, too.

    Without credentials "anon" is charged here, together with "address". With credentials it is charged by the DRF throttles,
    after authentication has failed to verify them, or here on the way out when nobody has: a refused token, a path that does
    not exist, a view that authenticates nobody, a body that is too large. A CORS preflight, which never carries credentials,
    counts for "address" alone. What fails on our side (5xx) is not charged to somebody whose token nobody could verify.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        api, preflight = is_api(request), _is_preflight(request)
        limits = [limit_for("address", facts_of(request).bucket)]
        if api and not preflight and not carries_credentials(request):
            limits.append(anon_limit(request))
            anon_mark(request)
        allowed, decisions = acquire([one for one in limits if one])
        record(request, decisions)
        if not allowed:
            response = _refused(request)
        else:
            response = self.get_response(request)
            if api and not preflight and response.status_code < SERVER_ERROR and not is_verified(request):
                response = self._limit_unverified(request, response)
        if api:
            limits_to_headers(response, recorded(request))
        return response

    def _limit_unverified(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Whose credentials nobody has verified is anonymous, and gets 429 instead once that limit is used up."""
        anon = anon_limit(request)
        if anon is None:
            return response
        allowed, decisions = acquire([anon])
        record(request, decisions)
        return response if allowed else _refused(request)


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META


def _refused(request: HttpRequest) -> HttpResponseBase:
    """Return 429 with the headers that let a browser app of another origin read it; CorsMiddleware comes later."""
    response = refusal(request, recorded(request))
    if not _is_preflight(request):
        CorsMiddleware(lambda _: response).add_response_headers(request, response)
    return response
