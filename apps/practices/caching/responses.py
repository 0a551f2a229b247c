"""Cached public answers: what a view declares, which requests may be answered from it, and the answer made from an entry."""

import string
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch

from apps.practices.caching.conditional import etag
from apps.practices.caching.data import BOUND
from apps.practices.caching.engine import Lookup, entry_key
from apps.practices.caching.entries import MAX_BYTES
from apps.practices.mechanisms.facts import route_match, view_of

PUBLIC = (
    "public, no-cache"  # anybody may keep it, nobody may use it without asking: a 304 costs little and is never stale
)
VARY = "Accept, Authorization, Cookie"
KEPT_HEADERS = ("Content-Type", "Content-Language", "Link", "Deprecation", "Sunset")
LONGEST_QUERY = 2048  # characters; a longer one runs the view
CACHE_NAME = "app"  # in Cache-Status


class CachedResponse:
    """What a DRF view declares, as its class attribute ``cached``, so that anonymous readers share one answer.

    ``ttl`` seconds it is fresh, ``stale`` more it is served while one request makes the next, or while the database is away;
    together 60 at most, the bound within which a change that never reached Redis is seen. ``tags`` may use the URL's keyword
    arguments (``"note:{id}"``). ``parameters`` are the query parameters that the answer depends on: a request with any
    other runs the view. The audience is the public: requests with credentials always run the view.
    """

    def __init__(self, *, ttl: float, tags: Iterable[str], parameters: Iterable[str] = (), stale: float = 0) -> None:
        if not 0 < ttl + stale <= BOUND:
            raise ValueError(f"ttl + stale is {ttl + stale:g} s; a public answer may live {BOUND} s at most")
        self.ttl = ttl
        self.stale = stale
        self.tags = tuple(tags)
        self.parameters = frozenset(parameters)
        self.arguments = {name for tag in self.tags for _, name, _, _ in string.Formatter().parse(tag) if name}

    def tags_for(self, arguments: dict[str, Any]) -> tuple[str, ...]:
        """The tags with the URL's keyword arguments filled in."""
        return tuple(tag.format_map(arguments) for tag in self.tags) if self.arguments else self.tags


@dataclass(frozen=True, slots=True)
class CachedRoute:
    """How one address is cached: the declaration, its tags, the route it resolved to."""

    declared: CachedResponse
    tags: tuple[str, ...]
    match: ResolverMatch


def cached_route(request: HttpRequest) -> CachedRoute | None:
    """Return how the request's route is cached; None where there is no route, or its view declares nothing."""
    declared = getattr(view_of(request), "cached", None)
    if not isinstance(declared, CachedResponse):
        return None
    match = route_match(request)
    return CachedRoute(declared, declared.tags_for(match.kwargs), match)


def public_key(request: HttpRequest, route: CachedRoute) -> str | None:
    """The key under which everybody shares the answer; None when this request must run the view.

    The key holds the path and the declared parameters, sorted, and nothing else of the request: no host, no header.
    """
    meta = request.META
    if (
        request.method not in ("GET", "HEAD")
        or "HTTP_AUTHORIZATION" in meta
        or meta.get("CONTENT_LENGTH") not in (None, "", "0")
    ):
        return None
    cookies = meta.get("HTTP_COOKIE")
    if cookies and any(name in cookies for name in _private_cookies()):
        return None
    if not _takes_json(meta.get("HTTP_ACCEPT", "")):
        return None
    path = quote(request.path_info, errors="surrogateescape")  # so that no path can look like another's path and query
    query = meta.get("QUERY_STRING", "")
    if not query:
        return entry_key(f"public:{path}")
    if len(query) > LONGEST_QUERY or not query.isascii():  # raw bytes, which WSGI hands over as Latin-1, mean UTF-8
        return None
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    names = {name for name, _ in pairs}
    if len(names) != len(pairs) or not names <= route.declared.parameters:
        return None
    canonical = urlencode(sorted(pairs), errors="surrogateescape")
    return entry_key(f"public:{path}?{canonical}")


def _private_cookies() -> tuple[str, ...]:
    """Parts of the names of cookies that make an answer somebody's own."""
    ours = (settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE, settings.SESSION_COOKIE_NAME)
    return (*ours, *settings.CACHING_PRIVATE_COOKIES)


def _takes_json(accept: str) -> bool:
    """Whether plain negotiation would end in JSON; anything unusual runs the view, which negotiates for itself."""
    if accept in ("", "*/*", "application/json"):
        return True
    return (
        ("application/json" in accept or "*/*" in accept)
        and "q=0" not in accept.replace(" ", "")
        and "html" not in accept
    )


class NotCacheable(Exception):
    """The view's answer is not one to share; whoever ran the view returns it as it is."""


def cacheable_parts(response: HttpResponseBase) -> tuple[bytes, dict[str, str]]:
    """Body and headers to keep of a view's answer; NotCacheable when it is not a plain public 200."""
    if (
        response.status_code != 200
        or response.streaming
        or response.cookies
        or response.has_header("Set-Cookie")
        or "no-store" in response.get("Cache-Control", "")
        or "private" in response.get("Cache-Control", "")
    ):
        raise NotCacheable
    body = bytes(response.content)  # type: ignore[attr-defined]  # not streaming, so it has content
    headers = {name: response[name] for name in KEPT_HEADERS if response.has_header(name)}
    headers["ETag"] = response.get("ETag") or etag(body, getattr(response, "entity_version", None))
    return body, headers


def answer(request: HttpRequest, lookup: Lookup, route: CachedRoute) -> HttpResponse:
    """Return the response that an entry holds."""
    entry = lookup.entry
    response = HttpResponse(b"" if request.method == "HEAD" else entry.body)
    for name, value in entry.headers.items():
        response.headers[name] = value
    response.headers["Content-Length"] = str(len(entry.body))
    response.headers["Cache-Control"] = PUBLIC
    response.headers["Vary"] = VARY
    response.headers["Age"] = str(max(0, int(time.time() - entry.created)))
    response.headers["Cache-Status"] = cache_status(lookup)
    request.resolver_match = route.match
    return response


def cache_status(lookup: Lookup) -> str:
    """RFC 9211: whether it was a hit, for how many seconds it is fresh, and which tier or builder it came from."""
    left = lookup.entry.seconds_left(time.time())
    if lookup.source == "built":
        stored = "; stored" if len(lookup.entry.body) <= MAX_BYTES else ""
        return f"{CACHE_NAME}; fwd=uri-miss{stored}; ttl={left}"
    return f"{CACHE_NAME}; hit; ttl={left}; detail={lookup.source}"
