"""The cache engine: two tiers, tags checked before a body is believed, one builder however many callers miss at once.

Tier one is the process's memory (``local.py``), trusted for CACHE_LOCAL_SECONDS; tier two is Redis. A miss costs three round
trips: look, prepare (lock, tag versions), store. The tag versions are read before the data, so a change that happens while
the data is being read leaves an entry that nobody will believe.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from django.conf import settings
from redis.exceptions import RedisError

from apps.practices.caching.entries import MAX_BYTES, Entry, entry_from_bytes, entry_to_bytes
from apps.practices.caching.local import LocalTier
from apps.practices.caching.tags import changed_here, is_settled, tag_key
from apps.practices.database.replicas import primary_reads
from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.redis import redis_client

TAG_SECONDS = 7 * 86400
LONGEST_LIFE = 86400  # of an entry: far below a tag's, so that an absent tag never meets a living entry it once had
LOCK_SECONDS = 10  # a builder that takes longer loses its claim
WAIT_SECONDS = 10  # a caller that has waited longer builds for itself

Source = Literal["local", "redis", "stale", "built"]

# Gives absent tags a version, takes the builder's lock, and returns the entry as it is now. The lock names the versions it was
# taken under: whoever builds from before a change does not hold up those who come after it.
PREPARE = """
local versions = {}
for i = 3, #KEYS do
  local version = redis.call('GET', KEYS[i])
  if not version then version = ARGV[i] end
  redis.call('SET', KEYS[i], version, 'EX', ARGV[3 + #KEYS - 2])
  versions[#versions + 1] = version
end
local under = '|' .. table.concat(versions, '|')
local holder = redis.call('GET', KEYS[2])
local locked = 0
if not holder or string.sub(holder, #ARGV[1] + 1) ~= under then
  redis.call('SET', KEYS[2], ARGV[1] .. under, 'PX', ARGV[2])
  locked = 1
end
return {locked, redis.call('GET', KEYS[1]), versions}
"""
RELEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What to look for and how to make it. ``build`` returns the body and the headers kept with it, or raises."""

    key: str
    tags: tuple[str, ...]
    ttl: float
    stale: float
    build: Callable[[], tuple[bytes, dict[str, str]]]
    outages: tuple[type[BaseException], ...] = ()  # what build may raise that a stale entry helps over


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and where it came from."""

    entry: Entry
    source: Source


@dataclass(slots=True)
class _Flight:
    """A build under way in this process."""

    owner: int
    began: float
    tags: tuple[str, ...]
    result: "Future[Found]" = field(default_factory=Future)


local = LocalTier()
_flights: dict[str, _Flight] = {}
_flights_lock = threading.Lock()


def entry_key(name: str) -> str:
    """The Redis key of what is called ``name``: hashed, so that length and characters do not matter."""
    return f"{settings.CACHING_PREFIX}:e:{hashlib.blake2b(name.encode(), digest_size=20).hexdigest()}"


def fetch(recipe: Recipe) -> Found:
    """This function will return the entry from memory, from Redis, or built by exactly one of the callers."""
    found = peek(recipe.key, recipe.tags)
    if found is None:
        found, reachable = _look(recipe)
        if found is None or found.source == "stale":
            found = _fly(recipe, stale=found, reachable=reachable)
    count("cache_lookups", source=found.source)
    return found


def peek(key: str, tags: tuple[str, ...]) -> Found | None:
    """The entry if this process may answer it without asking anybody."""
    kept = local.get(key)
    if kept is None:
        return None
    entry, checked_at = kept
    recent = time.monotonic() - checked_at < settings.CACHING_LOCAL_SECONDS
    if recent and entry.is_fresh(time.time()) and not changed_here(tags, since=checked_at):
        return Found(entry, "local")
    return None


def _look(recipe: Recipe) -> tuple[Found | None, bool]:
    """One round trip to tier two: what it has, and whether it can be used at all."""
    kept = local.get(recipe.key)
    checked_at = time.monotonic()
    names = [tag_key(tag) for tag in recipe.tags]
    entry, versions = None, []
    try:
        if not is_settled():
            return None, False
        if kept is not None and names and kept[0].is_fresh(time.time()):
            entry, versions = kept[0], redis_client().mget(names)
        if entry is None or not _believable(entry, recipe.tags, versions):
            stored, *versions = redis_client().mget([recipe.key, *names])
            entry = entry_from_bytes(cast(bytes | None, stored))
    except RedisError:
        return None, False
    return _judge(recipe, entry, versions, checked_at=checked_at), True


def _judge(recipe: Recipe, entry: Entry | None, versions: list[Any], *, checked_at: float) -> Found | None:
    """An entry that agrees with the tags' versions is kept in tier one and served, as stale when it is past its time."""
    now = time.time()
    if entry is None or not _believable(entry, recipe.tags, versions) or not entry.is_usable(now):
        local.drop(recipe.key)
        return None
    _keep(recipe.key, entry, checked_at=checked_at)
    return Found(entry, "redis" if entry.is_fresh(now) else "stale")


def _believable(entry: Entry | None, tags: tuple[str, ...], versions: list[Any]) -> bool:
    if entry is None:
        return False
    return all(
        version is not None and entry.tags.get(tag) == _text(version)
        for tag, version in zip(tags, versions, strict=True)
    )


def _text(version: Any) -> str:
    return version.decode() if isinstance(version, bytes) else str(version)


def _fly(recipe: Recipe, *, stale: Found | None, reachable: bool) -> Found:
    """Build, or wait for the thread of this process that is building already."""
    with _flights_lock:
        flight = _flights.get(recipe.key)
        if flight is not None and changed_here(recipe.tags, since=flight.began):
            flight = None  # it may have read what was true before the change: not for callers that came after
        leads = flight is None
        if flight is None:
            flight = _flights[recipe.key] = _Flight(threading.get_ident(), time.monotonic(), recipe.tags)
    if not leads:
        return _follow(recipe, flight, stale=stale)
    try:
        found = _claim_and_build(recipe, stale=stale) if reachable else _build_alone(recipe)
    except BaseException as error:
        flight.result.set_exception(error)
        raise
    else:
        flight.result.set_result(found)
        return found
    finally:
        with _flights_lock:
            if _flights.get(recipe.key) is flight:
                del _flights[recipe.key]


def _follow(recipe: Recipe, flight: _Flight, *, stale: Found | None) -> Found:
    if stale is not None:
        return stale
    if flight.owner == threading.get_ident():
        return _build(recipe, versions=None)[0]  # a build that needs itself must not wait for itself
    try:
        return flight.result.result(timeout=WAIT_SECONDS)
    except NotInTime:
        if flight.result.done():
            raise  # the build itself timed out
        return _build(recipe, versions=None)[0]


def _claim_and_build(recipe: Recipe, *, stale: Found | None) -> Found:
    """Take the lock that all processes share and build; whoever does not get it serves stale or waits for the entry."""
    token = secrets.token_hex(8)
    pause, deadline = 0.01, time.monotonic() + WAIT_SECONDS
    while True:
        asked_at = time.monotonic()
        try:
            locked, stored, versions = _prepare(recipe, token)
        except RedisError:
            return _build_alone(recipe)
        found = _judge(recipe, entry_from_bytes(stored), versions, checked_at=asked_at)
        if found is not None and found.source == "redis":
            if locked:
                _release(recipe, token)
            return found
        if locked:
            return _build_and_store(recipe, token, versions, checked_at=asked_at, stale=stale)
        if stale is not None:
            return stale
        if asked_at > deadline:
            return _build_alone(recipe)
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _prepare(recipe: Recipe, token: str) -> tuple[bool, bytes | None, list[bytes]]:
    keys = [recipe.key, f"{recipe.key}:lock", *(tag_key(tag) for tag in recipe.tags)]
    fresh = [secrets.token_hex(8) for _ in recipe.tags]
    answer = redis_client().eval(PREPARE, len(keys), *keys, token, LOCK_SECONDS * 1000, *fresh, TAG_SECONDS)
    return bool(answer[0]), answer[1], answer[2]


def _build_and_store(
    recipe: Recipe, token: str, versions: list[bytes], *, checked_at: float, stale: Found | None
) -> Found:
    try:
        found, entry = _build(recipe, versions=[_text(version) for version in versions])
    except BaseException as error:
        _release(recipe, token)
        if stale is not None and isinstance(error, recipe.outages):
            return stale
        raise
    if len(entry.body) > MAX_BYTES:
        _release(recipe, token)
        return found
    _keep(recipe.key, entry, checked_at=checked_at)
    try:
        pipeline = redis_client().pipeline(transaction=False)
        pipeline.set(recipe.key, entry_to_bytes(entry), px=int((entry.ttl + entry.stale) * 1000))
        pipeline.eval(RELEASE, 1, f"{recipe.key}:lock", token)
        pipeline.execute()
    except RedisError:
        return found  # built all the same; the lock ends by itself
    return found


def _release(recipe: Recipe, token: str) -> None:
    try:
        redis_client().eval(RELEASE, 1, f"{recipe.key}:lock", token)
    except RedisError:
        return  # it ends by itself after LOCK_SECONDS


def _build_alone(recipe: Recipe) -> Found:
    """Redis cannot be used: build, and let this process alone keep it for as long as it may go unchecked."""
    checked_at = time.monotonic()
    found, entry = _build(recipe, versions=None)
    if len(entry.body) <= MAX_BYTES:
        _keep(recipe.key, entry, checked_at=checked_at)
    return found


def _build(recipe: Recipe, *, versions: list[str] | None) -> tuple[Found, Entry]:
    entry = Entry(body=b"", created=time.time(), ttl=recipe.ttl, stale=recipe.stale)
    with primary_reads():
        body, headers = recipe.build()
    tags = dict(zip(recipe.tags, versions, strict=True)) if versions is not None else {}
    entry = replace(entry, body=body, headers=headers, tags=tags)
    return Found(entry, "built"), entry


def _keep(key: str, entry: Entry, *, checked_at: float) -> None:
    if settings.CACHING_LOCAL_SECONDS > 0:
        local.put(
            key,
            entry,
            checked_at=checked_at,
            max_entries=settings.CACHING_LOCAL_ENTRIES,
            max_bytes=settings.CACHING_LOCAL_BYTES,
        )
