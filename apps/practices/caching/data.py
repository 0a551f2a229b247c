"""``remember()``: cache the result of a selector."""

from collections.abc import Callable
from typing import Any

import orjson
from django.db import Error

from apps.practices.caching.engine import LONGEST_LIFE, CacheSpec, entry_key, fetch
from apps.practices.caching.tags import changed_in_transaction
from apps.practices.errors import TimedOut, Unavailable
from apps.practices.mechanisms.json import json_bytes

BOUND = 60  # seconds for which a reader may miss a change that never reached Redis
OUTAGES = (Error, Unavailable, TimedOut)


def remember(
    key: str,
    *,
    ttl: float = 60,
    stale: float = 0,
    tags: tuple[str, ...] = (),
    bound: float = BOUND,
    build: Callable[[], Any],
) -> Any:
    """Return the result of ``build()``, from memory or Redis if it is less than ``ttl`` seconds old.

    ``tags`` name the data that the result depends on: ``tags_change()`` with one of them makes it a miss. For ``stale``
    more seconds the old result is served while one caller builds a new one, or while the database is unavailable. Every
    caller gets its own copy, decoded from JSON. An exception of ``build`` is raised and not cached; a result above
    256 KiB is returned and not cached.

    Raise ValueError if ``ttl + stale`` exceeds ``bound``: 60 seconds, unless the call states a longer one.
    """
    if not 0 < ttl + stale <= min(bound, LONGEST_LIFE):
        raise ValueError(f"ttl + stale is {ttl + stale:g} s, but must be above 0 and within the bound of {bound:g} s")
    if changed_in_transaction(tags):
        return orjson.loads(json_bytes(build()))
    spec = CacheSpec(
        key=entry_key(f"data:{key}"),
        tags=tags,
        ttl=ttl,
        stale=stale,
        build=lambda: (json_bytes(build()), {}),
        outages=OUTAGES,
    )
    return orjson.loads(fetch(spec).entry.body)
