"""Two middlewares: conditional requests for the whole API, and shared responses for views that declare them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.practices.caching import responses
from apps.practices.caching.conditional import LONGEST, etag_add, none_match
from apps.practices.caching.declarations import cached_of
from apps.practices.caching.engine import CacheSpec, fetch
from apps.practices.caching.groups import groups_add, invalidation_add
from apps.practices.caching.tags import changed_in_transaction, changes_noted
from apps.practices.errors import Malformed, is_api, problem_response
from apps.practices.mechanisms.responses import header_of, header_set, vary_add

Inner = Callable[[HttpRequest], HttpResponseBase]
PRIVATE = "private, no-cache"
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


class ServerError(Exception):
    """The view answered 5xx; a stale entry is better."""


class ConditionalMiddleware:
    """Adds ETag and Cache-Control to API responses, and answers 304 if nothing has changed (RFC 9110, section 13)."""

    def __init__(self, get_response: Inner) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_api(request):
            return self.get_response(request)
        if len(request.META.get("HTTP_IF_NONE_MATCH", "")) > LONGEST:
            detail = f"If-None-Match is longer than {LONGEST} characters. Send the ETag of the response that you have."
            return problem_response(request, Malformed(detail))
        response = self.get_response(request)
        etag_add(request, response)
        if header_of(response, "cache-control") is None:
            header_set(response, "Cache-Control", PRIVATE)
            vary_add(response, "Accept", "Authorization", "Cookie")
        if request.method in ("GET", "HEAD") and response.status_code == 200:
            current = header_of(response, "etag")
            if current is not None and none_match(request, current):
                return _not_modified(response)
        return response


def _not_modified(response: HttpResponseBase) -> HttpResponse:
    """Return a 304 with the headers of the response, except those that describe its body (RFC 9110, 15.4.5)."""
    short = HttpResponse(status=304)
    del short.headers["Content-Type"]
    for name, value in response.headers.items():
        if not name.lower().startswith("content-"):
            short.headers[name] = value
    short.cookies = response.cookies
    return short


class CachingMiddleware:
    """Answers anonymous reads of views that declare ``cached`` from a shared entry, without running anything below.

    It is below the limits and the headers, so that hits are counted and get headers like other responses. Responses to writes
    get the groups that the write has changed.
    """

    def __init__(self, get_response: Inner) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method not in SAFE:
            return self._write(request)
        declared = cached_of(request) if request.method != "OPTIONS" else None
        if declared is None:
            return self.get_response(request)
        key, tags = responses.public_key(request, declared), declared.tags_for(request)
        if key is None or changed_in_transaction(tags):
            response = self.get_response(request)
            _bypassed(response, tags)
            return response
        ran: list[HttpResponseBase] = []

        def build() -> tuple[bytes, dict[str, str]]:
            ran.append(self.get_response(request))
            if ran[0].status_code >= 500:
                raise ServerError
            groups_add(ran[0], tags)
            return responses.cacheable_parts(ran[0])

        spec = CacheSpec(
            key=key, tags=tags, ttl=declared.ttl, stale=declared.stale, build=build, outages=(ServerError,)
        )
        try:
            return responses.response_from(request, fetch(spec), key=key, tags=tags)
        except (responses.NotCacheable, ServerError):
            # Not shared. If another request ran the view, this one has to run it now.
            response = ran[0] if ran else self.get_response(request)
            response.headers["Cache-Status"] = responses.MISS
            groups_add(response, tags)
            return response

    def _write(self, request: HttpRequest) -> HttpResponseBase:
        with changes_noted() as changed:
            response = self.get_response(request)
        invalidation_add(request, response, changed)
        return response


def bypass_add(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add what the response to a request with credentials gets if the public shares those of its view."""
    declared = cached_of(request)
    if declared is not None:
        _bypassed(response, declared.tags_for(request))


def _bypassed(response: HttpResponseBase, tags: tuple[str, ...]) -> None:
    header_set(response, "Cache-Status", responses.BYPASS)
    groups_add(response, tags)
