"""Cached responses: which requests may share one, what of a response is cached, and the response from an entry."""

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode
from weakref import ref

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.practices.caching.conditional import etag
from apps.practices.caching.engine import Lookup, entry_key, peek
from apps.practices.caching.entries import MAX_BYTES, Entry
from apps.practices.caching.groups import GROUPS
from apps.practices.mechanisms.facts import facts_of, route_match
from apps.practices.mechanisms.responses import header_set

if TYPE_CHECKING:
    from apps.practices.caching.declarations import CachedResponse

PUBLIC = "public, no-cache"  # a shared cache may store it, but must revalidate: a 304 is cheap and never stale
VARY = "Accept, Authorization, Cookie"
CACHED_HEADERS = ("Content-Type", "Content-Language", "Link", "Deprecation", "Sunset", GROUPS)
_NAME = re.compile(r"(?:^|&)([^&=]*)")
LONGEST_QUERY = 2048  # characters; a request with a longer one is not cached
REMEMBERED_LENGTH = 200  # characters of path and query: the keys of 4,096 longer ones would take MB
CACHE_NAME = "app"  # in Cache-Status
BYPASS = f"{CACHE_NAME}; fwd=bypass"
MISS = f"{CACHE_NAME}; fwd=uri-miss"


def public_key(request: HttpRequest, declared: "CachedResponse") -> str | None:
    """Return the key of the response that anonymous readers share; None if this request must run the view."""
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
    return shared_key(request, declared, audience="public")


def shared_key(request: HttpRequest, declared: "CachedResponse", *, audience: str) -> str | None:
    """Return the key for an audience: path and sorted parameters, no host, no header; None for undeclared parameters."""
    path, query = request.path_info, request.META.get("QUERY_STRING", "")
    find = _remembered_key if len(path) + len(query) <= REMEMBERED_LENGTH else _shared_key
    return find(audience, path, query, declared.parameters)


def _shared_key(audience: str, path: str, query: str, parameters: frozenset[str]) -> str | None:
    if query:
        if any(name.isidentifier() and name not in parameters for name in _NAME.findall(query)):
            return None  # the usual case, such as a cursor, is found before the query string is parsed
        if (
            len(query) > LONGEST_QUERY or not query.isascii()
        ):  # raw bytes: WSGI decodes them as Latin-1, Django as UTF-8
            return None
        pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        names = {name for name, _ in pairs}
        if len(names) != len(pairs) or not names <= parameters:
            return None
        query = f"?{urlencode(sorted(pairs), errors='surrogateescape')}" if pairs else ""
    # The path is quoted, so that none equals another's path and query.
    return entry_key(f"{audience}:{quote(path, errors='surrogateescape')}{query}")


_remembered_key = lru_cache(maxsize=4096)(_shared_key)


def _private_cookies() -> tuple[str, ...]:
    """Return the names of cookies that make a response private."""
    ours = (settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE, settings.SESSION_COOKIE_NAME)
    return (*ours, *settings.CACHING_PRIVATE_COOKIES)


def _takes_json(accept: str) -> bool:
    """Return whether content negotiation would clearly choose JSON; in doubt the view runs, and negotiates."""
    if accept in ("", "*/*", "application/json"):
        return True
    return (
        ("application/json" in accept or "*/*" in accept)
        and "q=0" not in accept.replace(" ", "")
        and "html" not in accept
    )


class NotCacheable(Exception):
    """The view's response must not be shared; the request that ran the view returns it unchanged."""


def cacheable_parts(response: HttpResponseBase) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers to cache; raise NotCacheable unless the response is a plain 200."""
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
    headers = {name: response[name] for name in CACHED_HEADERS if response.has_header(name)}
    headers["ETag"] = response.get("ETag") or etag(body, getattr(response, "entity_version", None))
    return body, headers


def response_from(request: HttpRequest, lookup: Lookup, *, key: str, tags: tuple[str, ...]) -> HttpResponse:
    """Return the public 200 response for an entry."""
    response = response_of(lookup, is_head=request.method == "HEAD")
    response.headers["Cache-Control"] = PUBLIC
    response.headers["Vary"] = VARY
    request.resolver_match = route_match(request)
    if lookup.source == "local":
        facts_of(request).hit = Hit(key=key, tags=tags, entry=ref(lookup.entry))
    return response


def response_of(lookup: Lookup, *, is_head: bool) -> HttpResponse:
    """Return the 200 response for an entry, without the headers that depend on its audience."""
    entry = lookup.entry
    kind = entry.headers.get("Content-Type", "application/json")  # otherwise Django would look for a charset
    response = HttpResponse(b"" if is_head else entry.body, content_type=kind)
    for name, value in entry.headers.items():
        header_set(response, name, value)
    header_set(response, "Content-Length", str(len(entry.body)))
    header_set(response, "Age", age(entry))
    header_set(response, "Cache-Status", cache_status(lookup))
    return response


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A response from the local tier, which the next equal request may get from the WSGI application."""

    key: str
    tags: tuple[str, ...]
    entry: ref[Entry]  # weak, so that the bounds of the local tier hold

    def current(self) -> Lookup | None:
        """Return the entry's lookup as long as it may be served without asking Redis."""
        lookup = peek(self.key, self.tags)
        return lookup if lookup is not None and lookup.entry is self.entry() else None


def age(entry: Entry) -> str:
    """Return the Age field of an entry (RFC 9111, 5.1)."""
    return str(max(0, int(time.time() - entry.created)))


def cache_status(lookup: Lookup) -> str:
    """Return the Cache-Status field (RFC 9211): hit or miss, seconds of freshness left, and the source."""
    left = lookup.entry.seconds_left(time.time())
    if lookup.source == "built":
        stored = "; stored" if len(lookup.entry.body) <= MAX_BYTES else ""
        return f"{CACHE_NAME}; fwd=uri-miss{stored}; ttl={left}"
    return f"{CACHE_NAME}; hit; ttl={left}; detail={lookup.source}"
