"""The facts of a request that several layers need, determined once by the outermost middleware."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve

from apps.practices.mechanisms.ids import request_id_new
from apps.practices.mechanisms.proxies import client_address_and_bucket
from apps.practices.mechanisms.scheme import forwarded_scheme

_KEY = "facts"
CACHED_PATH_LENGTH = 200  # characters; the matches of 4,096 longer paths would take tens of MB


@dataclass(slots=True, kw_only=True)
class RequestFacts:
    """What is known about a request before a view runs, and the decisions of the limits."""

    request_id: str
    started: float  # seconds, by perf_counter
    scheme: str  # "http" or "https": the client's
    address: str  # the client's, behind trusted proxies
    bucket: str  # what limits count by: the address, or its IPv6 network
    decisions: dict[str, Any] = field(default_factory=dict)  # throttling's Decision, by policy
    is_anon_counted: bool = False  # counted against the policy "anon"
    throttles: tuple[type, ...] = ()  # those whose policies have been counted
    match: ResolverMatch | None = None
    unmatched: Resolver404 | None = None


def facts_of(request: HttpRequest) -> RequestFacts:
    """Return the facts of a request; determine them if no middleware has, as for a request made in code."""
    facts: RequestFacts | None = request.__dict__.get(_KEY)
    return facts or _determine(request)


def _determine(request: HttpRequest) -> RequestFacts:
    if scheme := forwarded_scheme(request):
        request.META["wsgi.url_scheme"] = scheme  # where Django reads it: from now on request.is_secure() is right
    address, bucket = client_address_and_bucket(request)
    facts = request.__dict__[_KEY] = RequestFacts(
        request_id=request_id_new(),
        started=perf_counter(),
        scheme=request.META.get("wsgi.url_scheme", "http"),
        address=address,
        bucket=bucket,
    )
    return facts


class RequestFactsMiddleware:
    """Determines the id, scheme and client address, on which all other middlewares rely. The outermost of them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        _determine(request)
        return self.get_response(request)


def route_found(request: HttpRequest) -> ResolverMatch | None:
    """Return the route of a request, resolved once, or None."""
    facts = facts_of(request)
    if facts.match is None and facts.unmatched is None:
        try:
            path, urlconf = request.path_info, getattr(request, "urlconf", None) or settings.ROOT_URLCONF
            facts.match = (_resolved if len(path) <= CACHED_PATH_LENGTH else resolve)(path, urlconf)
        except Resolver404 as error:
            facts.unmatched = error.with_traceback(None)  # whose frames refer to the request
    return facts.match


def route_match(request: HttpRequest) -> ResolverMatch:
    """Return the route of a request; raise ``Resolver404`` if there is none."""
    match = route_found(request)
    if match is None:
        unmatched = facts_of(request).unmatched
        raise Resolver404(*(unmatched.args if unmatched else ()))
    return match


def view_of(request: HttpRequest) -> Any:
    """Return the view class of the request's route; None if there is no route or the view is a function."""
    match = route_found(request)
    view = match and match.func
    return getattr(view, "cls", None) or getattr(view, "view_class", None)


# All requests of a path share a match, which nothing modifies. Exceptions are not cached: unknown paths take no memory.
_resolved = lru_cache(maxsize=4096)(resolve)
