"""``remember()``: a selector's result, made once and kept."""

from collections.abc import Callable
from typing import Any

import orjson
from django.db import Error

from apps.practices.caching.engine import LONGEST_LIFE, CacheSpec, entry_key, fetch
from apps.practices.caching.tags import changed_in_transaction
from apps.practices.errors import TimedOut, Unavailable
from apps.practices.mechanisms.json import json_bytes

BOUND = 60  # seconds: how long a change that never reached Redis may go unseen
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
    """This function will return what ``build()`` returned, from memory or Redis when it was called less than ``ttl`` seconds ago.

    ``tags`` name what the result depends on: ``tags_change()`` with one of them makes it a miss. ``stale`` more seconds it is
    served while one caller builds the next one, or while the database is away. The result is JSON: every caller gets the
    decoded form, its own copy. ``ttl + stale`` above 60 is for data that no service writes, or says so with ``bound``;
    otherwise ValueError. What ``build`` raises goes through and is not kept; a result above 256 KiB is not kept either.
    """
    if not 0 < ttl + stale <= min(bound, LONGEST_LIFE):
        raise ValueError(f"ttl + stale is {ttl + stale:g} s, allowed are {bound:g}: state a longer bound at the call")
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
