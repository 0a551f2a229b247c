"""Cached representations for readers whose token, session and permissions are checked on each request.

What is cached are the bytes, the ETag and a few headers. ``StrictView.initial`` calls ``answer_from_cache`` after
authentication, permissions and limits. The query string is parsed, and the view's handler runs, only on a miss.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.practices.caching.data import OUTAGES
from apps.practices.caching.engine import CacheSpec, fetch, hit
from apps.practices.caching.groups import groups_add
from apps.practices.caching.responses import (
    BYPASS,
    MISS,
    NotCacheable,
    cacheable_parts,
    response_of,
    shared_key,
)
from apps.practices.caching.tags import changed_in_transaction
from apps.practices.mechanisms.requests import django_request, response_render
from apps.practices.mechanisms.responses import header_set

if TYPE_CHECKING:  # at run time DRF's views load the classes of authentication, which use caching
    from rest_framework.views import APIView

    from apps.practices.caching.declarations import CachedResponse

Handler = Callable[..., HttpResponseBase]


def answer_from_cache(declared: "CachedResponse", view: Any, request: Request) -> bool:
    """Replace the handler of a view whose checks have run; return whether this process has the response, so that nothing runs.

    Otherwise the handler takes it from Redis, or calls the view's and caches its response if it is a plain 200.
    """
    key, tags = _key(request, declared), declared.tags_for(django_request(request))
    if key is None or changed_in_transaction(tags):
        view.get = view.head = partial(_run, view.get, BYPASS, tags)
        return False
    lookup = hit(key, tags)
    if lookup is None:
        view.get = view.head = partial(_fetch, declared, view, view.get, key, tags)
        return False
    response = response_of(lookup, is_head=request.method == "HEAD")
    view.get = view.head = lambda *_, **__: response
    return True


def _fetch(
    declared: "CachedResponse",
    view: "APIView",
    handler: Handler,
    key: str,
    tags: tuple[str, ...],
    request: Request,
    *args: Any,
    **kwargs: Any,
) -> HttpResponseBase:
    ran: list[HttpResponseBase] = []

    def build() -> tuple[bytes, dict[str, str]]:
        with _as_anyone(request, is_needed=declared.audience == "permitted"):
            ran.append(_run(handler, MISS, tags, request, *args, **kwargs))
        response_render(view, request, ran[0])
        return cacheable_parts(ran[0])

    spec = CacheSpec(key=key, tags=tags, ttl=declared.ttl, stale=declared.stale, build=build, outages=OUTAGES)
    try:
        return response_of(fetch(spec), is_head=request.method == "HEAD")
    except NotCacheable:
        return ran[0] if ran else _run(handler, MISS, tags, request, *args, **kwargs)


def _run(
    handler: Handler, status: str, tags: tuple[str, ...], request: Request, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    response = handler(request, *args, **kwargs)
    header_set(response, "Cache-Status", status)
    groups_add(response, tags)
    return response


def _key(request: Request, declared: "CachedResponse") -> str | None:
    """Return the key of the representation: the audience and the address; None if this request must run the view."""
    if request.accepted_renderer.format != "json":
        return None
    if declared.audience == "permitted":
        return shared_key(django_request(request), declared, audience="permitted")
    user = request.user
    if not user.is_authenticated:
        return None
    # With the user's rights, a right that is lost or gained leads to another entry, not to what was built under the old ones.
    rights = (user.is_active, user.is_staff, user.is_superuser, *sorted(user.get_all_permissions()))
    digest = hashlib.blake2b(repr(rights).encode(), digest_size=16).hexdigest()
    return shared_key(django_request(request), declared, audience=f"user:{user.pk}:{digest}")


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
