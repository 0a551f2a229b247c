"""The facts of a request that several layers need, determined once: by the WSGI application, or the outermost middleware."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch

from apps.practices.mechanisms import traces
from apps.practices.mechanisms.ids import request_id_new
from apps.practices.mechanisms.proxies import client_address_and_bucket
from apps.practices.mechanisms.routes import resolve
from apps.practices.mechanisms.scheme import forwarded_scheme
from apps.practices.mechanisms.usage import usage

_KEY = "shipshape.facts"  # in the WSGI environ, which is request.META
CACHED_PATH_LENGTH = 200  # characters; the matches of 4,096 longer paths would take tens of MB
CACHED_HEADER_LENGTH = 200  # characters of X-Forwarded-For and X-Forwarded-Proto, for the same reason


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
    throttled_user: str | None = None  # for this user; None: by address
    is_counted: bool = False  # against the limits that are known before a view runs
    is_refused: bool = False  # by the limits, before the middlewares
    shape: Any = None  # of a read that may be answered without the middlewares (project/reads.py)
    own: Any = None  # the headers of its view's response
    answered: HttpResponseBase | None = None  # by the view, before the middlewares
    hit: Any = None  # caching's Hit, if the response is a shared one that is repeated
    match: ResolverMatch | None = None
    unmatched: Resolver404 | None = None
    span: traces.Span | None = None  # in the caller's trace, or in one that is recorded


def facts_of(request: HttpRequest) -> RequestFacts:
    """Return the facts of a request; determine them if nothing has, as for a request made in code."""
    return request.META.get(_KEY) or facts_determine(request.META)


def facts_determine(meta: MutableMapping[str, Any]) -> RequestFacts:
    """Determine the facts of a request by its WSGI environ, and keep them there."""
    peer = meta.get("REMOTE_ADDR", "")
    chain, written = meta.get("HTTP_X_FORWARDED_FOR", ""), meta.get("HTTP_X_FORWARDED_PROTO", "")
    is_short = len(chain) + len(written) <= CACHED_HEADER_LENGTH
    scheme, address, bucket = (_client if is_short else _client.__wrapped__)(peer, chain, written)
    if scheme:
        meta["wsgi.url_scheme"] = scheme  # where Django reads it: from now on request.is_secure() is right
    facts = meta[_KEY] = RequestFacts(
        request_id=request_id_new(),
        started=perf_counter(),
        scheme=scheme or meta.get("wsgi.url_scheme", "http"),
        address=address,
        bucket=bucket,
    )
    usage.reset()
    if traces.recorder is not None or "HTTP_TRACEPARENT" in meta:
        facts.span = traces.request_span(meta, address)
    return facts


@lru_cache(maxsize=4096)
def _client(peer: str, chain: str, written: str) -> tuple[str | None, str, str]:
    """Return the scheme that a trusted proxy has reported, the client's address and its bucket."""
    meta = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": chain, "HTTP_X_FORWARDED_PROTO": written}
    return forwarded_scheme(meta), *client_address_and_bucket(meta)


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "TRUSTED_PROXIES":
        _client.cache_clear()


setting_changed.connect(_settings_changed)


class RequestFactsMiddleware:
    """Determines the id, scheme and client address, on which all other middlewares rely. The outermost of them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        facts_of(request)
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
    """Return the route of a request; raise ``Resolver404`` if no route matches."""
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
