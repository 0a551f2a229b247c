"""Cache groups (RFC 9875): which stored responses belong together, and which of them a write has changed.

Responses that may be stored have ``Cache-Groups``, one group for each of their tags; responses to writes have
``Cache-Group-Invalidation``, so that the caches of browsers and CDNs drop what the write changed. A group's name is a keyed
hash of its tag, because a tag may hold an id that the reader must not see. Groups are valid within one origin.
"""

import base64
from collections.abc import Iterable
from functools import lru_cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

from apps.practices.mechanisms.responses import header_of, header_set

GROUPS = "Cache-Groups"
INVALIDATION = "Cache-Group-Invalidation"
ALL = "all"  # the group of every response, for writes that change more than a field may name
MOST = 32  # groups that every cache supports in one field, of 32 characters each (RFC 9875, 2)


@lru_cache(maxsize=4096)
def group_of(tag: str) -> str:
    """Return the name of a tag's group: 16 characters that reveal nothing about the tag without SECRET_KEY."""
    digest = salted_hmac("apps.practices.caching.groups", tag, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


@lru_cache(maxsize=4096)
def groups_field(tags: tuple[str, ...]) -> str:
    """Return the Cache-Groups of a response with these tags: a list of strings (RFC 9651, 3.1)."""
    return ", ".join(f'"{group}"' for group in (*map(group_of, tags), ALL))


def groups_add(response: HttpResponseBase, tags: tuple[str, ...]) -> None:
    """Add Cache-Groups to a response that its reader may store."""
    if response.status_code in (200, 304) and "no-store" not in (header_of(response, "cache-control") or ""):
        header_set(response, GROUPS, groups_field(tags))


def invalidation_add(request: HttpRequest, response: HttpResponseBase, tags: Iterable[str]) -> None:
    """Name the groups that a request has changed, to signed-in users only: others would learn whether an account exists."""
    changed = tuple(tags)
    user = getattr(request, "user", None)
    if not changed or not getattr(user, "is_authenticated", False):
        return
    groups = [ALL] if len(changed) > MOST else [group_of(tag) for tag in changed]
    response.headers[INVALIDATION] = ", ".join(f'"{group}"' for group in groups)
