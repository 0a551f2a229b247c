"""``CachedResponse``: what a view declares about caching its responses."""

import string
from collections.abc import Iterable
from typing import Any, Literal, get_args

from django.http import HttpRequest
from rest_framework.request import Request

from apps.practices.caching.checked import answer_from_cache
from apps.practices.caching.data import BOUND
from apps.practices.caching.groups import MOST
from apps.practices.mechanisms.facts import route_match, view_of

Audience = Literal["public", "permitted", "user"]


class CachedResponse:
    """The class attribute ``cached`` of a DRF view.

    A response is fresh for ``ttl`` seconds. For ``stale`` more seconds it is served while one request builds the next, or
    while the database is unavailable. Together they may be 60 at most, the time for which a change that never reached
    Redis may go unseen. ``tags`` may contain the URL's keyword arguments (``"note:{id}"``). ``parameters`` are the query
    parameters that the response depends on. Requests with any other parameter run the view.

    ``audience`` is who may get the same response:

    - ``"public"``: all anonymous readers. Requests with credentials run the view.
    - ``"permitted"``: all readers whom the view's authentication, permissions and limits let through, which run on each
      request. The view must not use ``request.user``. For a StrictView.
    - ``"user"``: one user with the same permissions, after the same checks. For a StrictView.
    """

    def __init__(
        self,
        *,
        ttl: float,
        tags: Iterable[str],
        parameters: Iterable[str] = (),
        stale: float = 0,
        audience: Audience = "public",
    ) -> None:
        if not 0 < ttl + stale <= BOUND:
            raise ValueError(f"ttl + stale is {ttl + stale:g} s; the maximum for a response is {BOUND} s")
        if audience not in get_args(Audience):
            raise ValueError(f"audience is {audience!r}; use one of {', '.join(get_args(Audience))}")
        self.audience = audience
        self.ttl = ttl
        self.stale = stale
        self.tags = tuple(dict.fromkeys(tags))
        if len(self.tags) >= MOST:
            raise ValueError(f"{len(self.tags)} tags; the maximum is {MOST - 1}")
        self.parameters = frozenset(parameters)
        self.arguments = {name for tag in self.tags for _, name, _, _ in string.Formatter().parse(tag) if name}

    def attach(self, view: Any, request: Request) -> bool:
        """Make a view whose checks have run answer from the cache, unless the audience is public; return whether it can."""
        return self.audience != "public" and answer_from_cache(self, view, request)

    def tags_for(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the tags with the URL's keyword arguments filled in."""
        if not self.arguments:
            return self.tags
        arguments = route_match(request).kwargs
        return tuple(tag.format_map(arguments) for tag in self.tags)


def cached_of(request: HttpRequest) -> CachedResponse | None:
    """Return what the view of a request declares as ``cached`` for the public; None if there is nothing, or no view."""
    declared = getattr(view_of(request), "cached", None)
    return declared if isinstance(declared, CachedResponse) and declared.audience == "public" else None
