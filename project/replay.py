"""Responses that are replayed, without a request of Django: liveness, and hits of the shared cache (decision 0053).

The middlewares and views make each kind of response once. This module keeps its status and headers, and sends them to the next
request of the same shape with what differs: the id, the age, the limits. It calls the same functions for the facts, the limits,
the cache, the access line and the metrics. Anything unusual in a request, and any change of the entry, leads to the middlewares.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import structlog
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.utils.module_loading import import_string

from apps.operations.views import ALIVE
from apps.practices.caching.responses import Hit, age, cache_status
from apps.practices.mechanisms import ids
from apps.practices.mechanisms.facts import CACHED_PATH_LENGTH, RequestFacts
from apps.practices.mechanisms.metrics import count
from apps.practices.observability.access import access_write
from apps.practices.throttling.limiter import Limit, Rate, acquire
from apps.practices.throttling.requests import limits_left
from apps.practices.throttling.throttles import LoginThrottle, ScopeThrottle, UserThrottle
from apps.practices.validation.bodies import client_set

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Shape = tuple[Any, ...]

LIVENESS = "/healthz"
API = "/api/"
MOST = 1024  # shapes that are kept, of about 3 KiB each
LONGEST = 500  # characters of the query string, If-None-Match, Host and Accept together
# With one of these a request is not replayed.
UNUSUAL = frozenset(
    {
        "HTTP_AUTHORIZATION",
        "HTTP_COOKIE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK",  # answered by CORS, where a setting allows it
    }
)
# Headers that differ between two responses of one shape.
MOVING = frozenset({ids.HEADER, "Age", "Cache-Status", "RateLimit"})
# Throttles that limit all anonymous clients alike. Another may know some by their address.
ALIKE = frozenset({LoginThrottle, ScopeThrottle, UserThrottle})
INNERMOST = "apps.practices.caching.middleware.CachingMiddleware"
KNOWN = ("apps.practices.", "apps.operations.", "django.middleware.security.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A response to a shape of request, with the places of the headers that differ."""

    status: str
    code: int
    headers: Headers
    moving: tuple[tuple[int, str], ...]
    has_body: bool
    limits: tuple[tuple[str, Rate], ...]
    route: str
    hit: Hit | None  # None for liveness


def replays_allowed() -> bool:
    """Return whether all middlewares that a hit passes are known, or declare ``is_replayable``.

    Any other may refuse a request, or change its response, by something that the shape does not contain.
    """
    if INNERMOST not in settings.MIDDLEWARE or check_request_enabled.receivers:
        return False
    outer = settings.MIDDLEWARE[: settings.MIDDLEWARE.index(INNERMOST)]
    return all(path.startswith(KNOWN) or getattr(import_string(path), "is_replayable", False) for path in outer)


class Replays:
    """The responses that this process can replay."""

    def __init__(self) -> None:
        self.are_allowed = replays_allowed()
        self._replays: dict[Shape, Replay] = {}
        self._lock = Lock()

    def shape_of(self, environ: Environ, facts: RequestFacts) -> Shape | None:
        """Return all that decides about the response to a plain GET or HEAD; None for any other request."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD") or not self.are_allowed:
            return None
        if path == LIVENESS:
            return (method, path, facts.scheme)
        if not path.startswith(API) or environ.get("CONTENT_LENGTH") not in (None, "", "0"):
            return None
        query, condition = environ.get("QUERY_STRING", ""), environ.get("HTTP_IF_NONE_MATCH", "")
        host, accept = environ.get("HTTP_HOST", ""), environ.get("HTTP_ACCEPT", "")
        if len(path) > CACHED_PATH_LENGTH or not path.isascii():
            return None
        if len(query) + len(condition) + len(host) + len(accept) > LONGEST:
            return None
        if environ.get("SCRIPT_NAME") or not UNUSUAL.isdisjoint(environ):
            return None
        origin = environ.get("HTTP_ORIGIN", "")
        if origin and origin not in settings.CORS_ALLOWED_ORIGINS:
            return None
        return (method, path, facts.scheme, query, host, accept, origin, condition)

    def replayed(
        self, shape: Shape, environ: Environ, start_response: Callable[..., Any], facts: RequestFacts
    ) -> list[bytes] | None:
        """Send the response to a request of this shape, and return its body; None if the middlewares have to answer."""
        replay = self._replays.get(shape)
        if replay is None:
            return None
        hit = replay.hit
        lookup = None if hit is None else hit.current()
        if hit is not None and lookup is None:
            return None
        body = (lookup.entry.body if lookup else ALIVE) if replay.has_body else b""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=facts.request_id)
        if facts.span is not None:
            facts.span.enter()
        try:
            fields = {ids.HEADER: facts.request_id}
            if lookup is not None:
                allowed, decisions = acquire([Limit(policy, facts.bucket, rate) for policy, rate in replay.limits])
                facts.decisions = {decision.limit.policy: decision for decision in decisions}
                if not allowed:
                    facts.is_refused = True
                    return None
                client_set(environ, bucket=facts.bucket)
                count("cache_lookups", source=lookup.source)
                fields |= {"Age": age(lookup.entry), "Cache-Status": cache_status(lookup)}
                fields["RateLimit"] = limits_left(facts)
            headers = replay.headers.copy()
            for place, name in replay.moving:
                headers[place] = (name, fields[name])
            access_write(
                facts,
                inbound_id=environ.get("HTTP_X_REQUEST_ID"),
                method=shape[0],
                route=replay.route,
                path=shape[1],
                status=replay.code,
                sent=0 if shape[0] == "HEAD" else len(body),
                cache=fields.get("Cache-Status"),
            )
        finally:
            if facts.span is not None:
                facts.span.leave()
            structlog.contextvars.clear_contextvars()
        start_response(replay.status, headers)
        return [body]

    def keep(self, shape: Shape, facts: RequestFacts, status: str, headers: Headers) -> None:
        """Keep the response to a request of this shape, if it was liveness or a hit."""
        code, names = int(status[:3]), {name for name, _ in headers}
        is_alive = shape[1] == LIVENESS and code == 200
        is_hit = facts.hit is not None and code in (200, 304)
        limits = [decision.limit for decision in facts.decisions.values()]
        is_by_bucket = ALIKE.issuperset(facts.throttles) and all(
            limit.key == Limit(limit.policy, facts.bucket, limit.rate).key for limit in limits
        )
        if "Set-Cookie" in names or facts.match is None or not (is_alive or is_hit) or not is_by_bucket:
            return
        replay = Replay(
            status=status,
            code=code,
            headers=headers,
            moving=tuple((place, name) for place, (name, _) in enumerate(headers) if name in MOVING),
            has_body=is_alive or (code == 200 and shape[0] == "GET"),
            limits=tuple((limit.policy, limit.rate) for limit in limits),
            route=f"/{facts.match.route}",
            hit=facts.hit,
        )
        with self._lock:
            while len(self._replays) >= MOST:
                self._replays.pop(next(iter(self._replays)))
            self._replays[shape] = replay
