"""Cached representations for readers whose token, session and permissions are checked on each request.

What is cached are the bytes, the ETag and a few headers. ``StrictView.initial`` calls ``checked_handler`` after
authentication, permissions, limits and the query string; the view's handler runs only on a miss.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.practices.caching.data import OUTAGES
from apps.practices.caching.engine import CacheSpec, entry_key, fetch
from apps.practices.caching.groups import groups_add
from apps.practices.caching.responses import (
    BYPASS,
    MISS,
    NotCacheable,
    address_of,
    cacheable_parts,
    response_of,
)
from apps.practices.caching.tags import changed_in_transaction
from apps.practices.mechanisms.requests import django_request, response_render

if TYPE_CHECKING:  # at run time DRF's views load the classes of authentication, which use caching
    from rest_framework.views import APIView

    from apps.practices.caching.declarations import CachedResponse

Handler = Callable[..., HttpResponseBase]


def checked_handler(declared: "CachedResponse", view: "APIView", handler: Handler) -> Handler:
    """Return a handler that answers from the cache, or calls the view's and caches its response if it is a plain 200."""

    def handle(request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key, tags = _key(request, declared), declared.tags_for(django_request(request))
        if key is None or changed_in_transaction(tags):
            return _labelled(handler(request, *args, **kwargs), BYPASS, tags)
        ran: list[HttpResponseBase] = []

        def build() -> tuple[bytes, dict[str, str]]:
            with _as_anyone(request, is_needed=declared.audience == "permitted"):
                response = handler(request, *args, **kwargs)
            ran.append(_labelled(response, MISS, tags))
            response_render(view, request, response)
            return cacheable_parts(response)

        spec = CacheSpec(key=key, tags=tags, ttl=declared.ttl, stale=declared.stale, build=build, outages=OUTAGES)
        try:
            return response_of(fetch(spec), is_head=request.method == "HEAD")
        except NotCacheable:
            return ran[0] if ran else _labelled(handler(request, *args, **kwargs), MISS, tags)

    return handle


def _labelled(response: HttpResponseBase, status: str, tags: tuple[str, ...]) -> HttpResponseBase:
    response.headers["Cache-Status"] = status
    groups_add(response, tags)
    return response


def _key(request: Request, declared: "CachedResponse") -> str | None:
    """Return the key of the representation: the audience and the address; None if this request must run the view."""
    address = address_of(django_request(request), declared)
    if address is None or request.accepted_renderer.format != "json":
        return None
    if declared.audience == "permitted":
        return entry_key(f"permitted:{address}")
    user = request.user
    if not user.is_authenticated:
        return None
    # With the user's rights, a right that is lost or gained leads to another entry, not to what was built under the old ones.
    rights = (user.is_active, user.is_staff, user.is_superuser, *sorted(user.get_all_permissions()))
    digest = hashlib.blake2b(repr(rights).encode(), digest_size=16).hexdigest()
    return entry_key(f"user:{user.pk}:{digest}:{address}")


class SharedRepresentationError(RuntimeError):
    """A view whose representation all permitted readers share looked at who is reading."""


class _Anyone:
    """The user and the token while a shared representation is built: any use of them is an error."""

    def _refuse(self, *_: object) -> NoReturn:
        raise SharedRepresentationError(
            'With audience="permitted" all readers share the response, so the view must not use request.user or '
            'request.auth. Use audience="user".'
        )

    __getattr__ = __bool__ = __eq__ = __hash__ = __str__ = _refuse


@contextmanager
def _as_anyone(request: Request, *, is_needed: bool) -> Iterator[None]:
    if not is_needed:
        yield
        return
    user, auth = request.user, request.auth
    anyone: Any = _Anyone()
    request.user = request.auth = anyone
    try:
        yield
    finally:
        request.user, request.auth = user, auth
