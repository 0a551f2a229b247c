"""Reads with a token that go straight to their view, once the middlewares have answered one like it (decision 0054).

For all such reads of a view the middlewares do the same: they let the request pass, and add the same headers. This module keeps
the headers of one response, and sends them with the next. It counts the limits, calls the view, which checks the token and the
permissions, and adds what differs (the id, the limits, the entity tag) by the same functions as the middlewares. Anything unusual
in a request leads through the middlewares, and so does an unusual response of the view, which then does not run again.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import structlog
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from apps.practices.caching.conditional import etag_add
from apps.practices.caching.middleware import bypass_add
from apps.practices.database.replicas import REPLICA
from apps.practices.mechanisms import ids
from apps.practices.mechanisms.facts import CACHED_PATH_LENGTH, RequestFacts, route_found
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.mechanisms.responses import header_of, header_set
from apps.practices.observability.access import access_record
from apps.practices.throttling.middleware import request_counted
from apps.practices.throttling.requests import is_verified, limits_to_headers
from apps.practices.validation.bodies import client_set
from apps.practices.validation.views import StrictView

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Shape = tuple[Any, ...]
Own = tuple[tuple[str, str], ...]  # the headers of a view's response, without those that may differ

API = "/api/"
MOST = 256  # views, hosts and accepted types, whose headers are kept
EACH = 8  # sets of own headers of one of them
LONGEST = 300  # characters of Host and Accept together
# A request with one of these passes the middlewares.
UNUSUAL = frozenset(
    {
        "HTTP_COOKIE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
        "HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK",
    }
)
# Headers that may differ between two responses of one shape, in lower case.
MOVING = frozenset(
    {
        ids.HEADER.lower(),
        "ratelimit",
        "ratelimit-policy",
        "etag",
        "content-length",
        "cache-groups",
        "cache-status",
        "age",
    }
)
_WHOLE = (JSONResponse, HttpResponse)  # other responses may be rendered or sent later
KNOWN = ("apps.practices.", "apps.operations.", "project.middleware.", "django.middleware.security.", "whitenoise.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The headers of a response, with the places of those that differ."""

    headers: Headers
    moving: tuple[tuple[int, str], ...]
    names: frozenset[str]


def reads_allowed() -> bool:
    """Return whether all middlewares are known, or declare ``is_replayable``, and nothing else observes requests."""
    if check_request_enabled.receivers or settings.OBSERVABILITY_SENTRY_DSN or settings.FORCE_SCRIPT_NAME:
        return False
    if REPLICA in settings.DATABASES:  # ReplicaMiddleware may repeat a read
        return False
    if any(database.get("ATOMIC_REQUESTS") for database in settings.DATABASES.values()):
        return False
    return all(
        path.startswith(KNOWN) or getattr(import_string(path), "is_replayable", False) for path in settings.MIDDLEWARE
    )


class Reads:
    """The frames of the responses to reads, for this process."""

    def __init__(self) -> None:
        self.are_allowed = reads_allowed()
        self._frames: dict[Shape, dict[Own, Frame]] = {}
        self._lock = Lock()

    def may_answer(self, environ: Environ) -> bool:
        """Return whether a request is a plain GET with a token."""
        if environ["REQUEST_METHOD"] != "GET" or "HTTP_AUTHORIZATION" not in environ or not self.are_allowed:
            return False
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        return (
            UNUSUAL.isdisjoint(environ)
            and path.startswith(API)
            and len(path) <= CACHED_PATH_LENGTH
            and path.isascii()
            and path.isprintable()
            and query.isascii()
            and "%" not in query
            and "\x00" not in query
            and environ.get("CONTENT_LENGTH") in (None, "", "0")
            and not environ.get("SCRIPT_NAME")
        )

    def shape_of(self, request: WSGIRequest, facts: RequestFacts) -> Shape | None:
        """Return all that decides what the middlewares do with such a request; None if that is not known."""
        match, meta = route_found(request), request.META
        host, accept, origin = meta.get("HTTP_HOST", ""), meta.get("HTTP_ACCEPT", ""), meta.get("HTTP_ORIGIN", "")
        if (
            match is None
            or not issubclass(getattr(match.func, "cls", object), StrictView)
            or len(host) + len(accept) > LONGEST
        ):
            return None
        if origin and origin not in settings.CORS_ALLOWED_ORIGINS:
            return None
        return (match.func, facts.scheme, host, accept, origin)

    def is_known(self, shape: Shape) -> bool:
        return shape in self._frames

    def answer(self, request: WSGIRequest, shape: Shape, facts: RequestFacts) -> tuple[Headers, bytes] | None:
        """Return the headers and the body of a 200; None if the middlewares have to answer."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=facts.request_id)
        if facts.span is not None:
            facts.span.enter()
        try:
            if not request_counted(request):
                return None
            match = request.resolver_match = route_found(request)
            assert match is not None
            client_set(request.META, bucket=facts.bucket)
            try:
                facts.answered = response = match.func(request, *match.args, **match.kwargs)
            except Exception:  # noqa: BLE001 - the view raises it again for the middlewares
                return None
            own = own_headers(request, response)
            frame = None if own is None else self._frames.get(shape, {}).get(own)
            if frame is None:
                return None
            etag_add(request, response)
            bypass_add(request, response)
            limits_to_headers(request, response)
            body = response.content
            header_set(response, ids.HEADER, facts.request_id)
            header_set(response, "Content-Length", str(len(body)))
            store = response.headers._store
            if MOVING.intersection(store) != frame.names:
                return None
            headers = frame.headers.copy()
            for place, name in frame.moving:
                headers[place] = store[name]
            access_record(request, status=200, sent=len(body), cache=header_of(response, "cache-status"))
        finally:
            if facts.span is not None:
                facts.span.leave()
            structlog.contextvars.clear_contextvars()
        close_old_connections()  # as Django does after a request, for which it sends a signal
        facts.answered = None
        return headers, body

    def keep(self, shape: Shape, facts: RequestFacts, status: str, headers: Headers) -> None:
        """Keep the headers that the middlewares have made of a view's response, if it was a plain 200."""
        if facts.own is None or status != "200 OK" or any(name == "Set-Cookie" for name, _ in headers):
            return
        moving = tuple((place, name.lower()) for place, (name, _) in enumerate(headers) if name.lower() in MOVING)
        frame = Frame(headers=headers, moving=moving, names=frozenset(name for _, name in moving))
        with self._lock:
            if len(self._frames) >= MOST:
                self._frames.clear()
            frames = self._frames.get(shape, {})
            # Readers of the dictionary hold no lock, so it is replaced.
            self._frames[shape] = {**(frames if len(frames) < EACH else {}), facts.own: frame}


def own_headers(request: HttpRequest, response: HttpResponseBase) -> Own | None:
    """Return the headers of a view's response, without MOVING; None unless it is a plain 200 to a user."""
    if type(response) not in _WHOLE or response.status_code != 200 or response.cookies or not is_verified(request):
        return None
    return tuple([header for name, header in response.headers._store.items() if name not in MOVING])
