"""The access line of a request, and its metrics."""

from functools import lru_cache
from time import perf_counter

import structlog
from django.conf import settings
from django.http import HttpRequest

from apps.practices.mechanisms import ids, metrics
from apps.practices.mechanisms.facts import RequestFacts, facts_of
from apps.practices.mechanisms.proxies import address_shown
from apps.practices.mechanisms.requests import user_id_of
from apps.practices.mechanisms.traces import Span
from apps.practices.mechanisms.usage import usage
from apps.practices.observability.logs import info_write
from apps.practices.observability.routes import UNMATCHED, route_of, session_of

PATH_MAX = 300
# Load balancers call these every second. Successful calls are counted, but only logged at DEBUG.
_PROBES = frozenset({"/healthz", "/readyz"})

logger = structlog.get_logger("access")


def access_record(
    request: HttpRequest, *, status: int, sent: int, problem: str | None = None, cache: str | None = None
) -> None:
    """Write the access line of a request and count it, once its response is complete.

    ``sent`` is the length of the body in bytes, ``problem`` the problem type of an error, ``cache`` the response's Cache-Status.
    """
    access_write(
        facts_of(request),
        inbound_id=request.META.get("HTTP_X_REQUEST_ID"),
        method=request.method or "",
        route=route_of(request),
        path=request.path,
        status=status,
        sent=sent,
        user_id=user_id_of(request),
        session=session_of(request),
        cache=cache,
        problem=problem,
    )


def access_write(
    facts: RequestFacts,
    *,
    inbound_id: str | None,
    method: str,
    route: str,
    path: str,
    status: int,
    sent: int,
    user_id: str | None = None,
    session: str | None = None,
    cache: str | None = None,
    problem: str | None = None,
) -> None:
    """Do what ``access_record`` does, without a request of Django."""
    seconds = perf_counter() - facts.started
    metrics.request_observe(
        route=route,
        method=method,
        status=status,
        seconds=seconds,
        request_id=facts.request_id,
        queries=usage.queries,
        query_seconds=usage.query_seconds,
    )
    fields = {
        "method": method[:16],
        "route": route,
        "path": path[:PATH_MAX],
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "bytes": sent,
        "queries": usage.queries,
        "db_ms": round(usage.query_seconds * 1000, 2),
        "user_id": user_id,
        "address": address_shown(facts.address, settings.OBSERVABILITY_ADDRESSES),
    }
    parent = ids.parent_id(inbound_id)
    if parent is not None:
        fields["parent_request_id"] = parent
    if session is not None:
        fields["session"] = session
    if cache is not None:
        fields["cache"] = cache_outcome(cache)
    if problem is not None:
        fields["problem"] = problem
    slowest = settings.OBSERVABILITY_SLOW_REQUEST_SECONDS
    is_slow = slowest and seconds >= slowest
    if facts.span is not None:
        span_end(facts.span, facts, method=method, route=route, path=path, status=status, user_id=user_id)
    if route in _PROBES and status < 400:
        logger.debug("request", **fields)
    elif is_slow:
        logger.warning("request", **fields, slow=True)
    else:
        info_write("request", fields, logger="access")


@lru_cache(maxsize=256)
def cache_outcome(cache_status: str) -> str:
    """Return what a Cache-Status field says: the tier that had the response, ``miss``, or ``bypass``."""
    if "; hit" in cache_status:
        return cache_status.rpartition("detail=")[2].partition(";")[0] if "detail=" in cache_status else "hit"
    return "bypass" if "fwd=bypass" in cache_status else "miss"


def span_end(
    span: Span, facts: RequestFacts, *, method: str, route: str, path: str, status: int, user_id: str | None
) -> None:
    """End a request's span, with the names of OpenTelemetry's semantic conventions for HTTP servers (1.23, stable)."""
    known = method if method in metrics.METHODS else "_OTHER"
    attributes = {
        "http.request.method": known,
        "http.route": None if route == UNMATCHED else route,
        "http.response.status_code": status,
        "url.scheme": facts.scheme,
        "url.path": path[:PATH_MAX],
        "user.id": user_id,
        "client.address": address_shown(facts.address, settings.OBSERVABILITY_ADDRESSES),
        "request.id": facts.request_id,
    }
    name = "HTTP" if known == "_OTHER" else known
    span.end(
        name if route == UNMATCHED else f"{name} {route}",
        attributes,
        error=str(status) if status >= 500 else None,
    )
