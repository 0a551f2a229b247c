"""ThrottlingMiddleware: the limit by address on every request; on API requests also the anonymous limit and the view's."""

from collections.abc import Callable

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import is_api, problem_response
from apps.practices.mechanisms.facts import facts_of, view_of
from apps.practices.throttling.limiter import Limit, limit_for
from apps.practices.throttling.requests import (
    acquire_for,
    has_credentials,
    is_verified,
    limits_to_headers,
    too_many,
    user_known,
)
from apps.practices.throttling.throttles import PolicyThrottle

SERVER_ERROR = 500


class ThrottlingMiddleware:
    """Counts each request in one round trip to Redis, before the middlewares below can refuse it.

    A request without credentials counts for "address", "anon" and the policies of the view's throttles at once; one with a token
    of a session that this process knows, for "address" and the policies of the view's throttles. With other credentials the
    throttles count, and a request counts for "anon" only if they are not verified: in the throttles, or after the response, if
    no throttle ran (a refused token, a path that does not exist, a view without authentication, a body that is too large). A
    CORS preflight, which never has credentials, counts for "address" only. A 5xx does not count for "anon", since the failure
    may have prevented verification.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_api(request) or _is_preflight(request):
            allowed = acquire_for(request, _address_limits(request), is_anonymous=False)
            response = self.get_response(request) if allowed else _refusal(request)
        else:
            response = self._api_response(request)
        if is_api(request):
            limits_to_headers(request, response)
        return response

    def _api_response(self, request: HttpRequest) -> HttpResponseBase:
        facts = facts_of(request)
        if facts.is_refused or not (facts.is_counted or request_counted(request)):
            return _refusal(request)
        response = self.get_response(request)
        is_unverified = response.status_code < SERVER_ERROR and not is_verified(request)
        if is_unverified and not acquire_for(request, [], is_anonymous=True):
            return _refusal(request)
        return response


def request_counted(request: HttpRequest) -> bool:
    """Count a request to the API against all limits that are known before its view runs. Return whether they allow it."""
    facts = facts_of(request)
    is_anonymous = not has_credentials(request)
    user = None if is_anonymous or not _authenticates(request) else user_known(request)
    limits = _address_limits(request)
    if is_anonymous or user is not None:
        limits += _view_limits(request, user=user)
    facts.is_counted = True
    facts.is_refused = not acquire_for(request, limits, is_anonymous=is_anonymous)
    return not facts.is_refused


def _address_limits(request: HttpRequest) -> list[Limit]:
    limit = limit_for("address", facts_of(request).bucket)
    return [limit] if limit else []


def _view_limits(request: HttpRequest, *, user: str | None) -> list[Limit]:
    """Return the limits of the throttles of the request's view, which then need not count any more."""
    view, facts = view_of(request), facts_of(request)
    throttles = [throttle for throttle in getattr(view, "throttle_classes", ()) if issubclass(throttle, PolicyThrottle)]
    facts.throttles, facts.throttled_user = tuple(throttles), user
    limits = [throttle.limit(view, user=user, bucket=facts.bucket) for throttle in throttles]
    return [limit for limit in limits if limit]


def _authenticates(request: HttpRequest) -> bool:
    return bool(getattr(view_of(request), "authentication_classes", ()))


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META


def _refusal(request: HttpRequest) -> HttpResponseBase:
    """Return the 429, with the CORS headers that let a browser app read it: CorsMiddleware is below this middleware."""
    response = problem_response(request, too_many(request))
    if not _is_preflight(request):
        CorsMiddleware(lambda _: response).add_response_headers(request, response)
    return response
