"""The cache engine: two tiers, tags checked before an entry is served, one build however many callers miss at once.

The local tier is the process's memory (``local.py``), trusted for CACHE_LOCAL_SECONDS; behind it is Redis. A miss costs
three round trips: look up, prepare (take the lock, read the tag versions), store. The tag versions are read before the
data. A change during the build therefore leaves an entry with old versions, which is never served.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from django.conf import settings
from redis.exceptions import RedisError

from apps.practices.caching.entries import MAX_BYTES, Entry, entry_from_bytes, entry_to_bytes
from apps.practices.caching.local import LocalTier
from apps.practices.caching.tags import changed_here, is_settled, tag_key
from apps.practices.database.replicas import primary_reads
from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.redis import redis_client, redis_command, redis_trip

TAG_SECONDS = 7 * 86400
LONGEST_LIFE = 86400  # of an entry: far shorter than a tag's, so that a tag that expired never leaves an entry behind
LOCK_SECONDS = 10  # a build that takes longer loses its lock
WAIT_SECONDS = 10  # a caller that has waited longer builds for itself

Source = Literal["local", "redis", "stale", "built"]

# Gives absent tags a version, takes the build lock, and returns the entry as it is now. The lock's value includes the tag
# versions that it was taken under, so that a build from before a change does not block the callers that come after it.
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
class CacheSpec:
    """A cached value: its key, and how to build it. ``build`` returns the body and the headers to store with it, or raises."""

    key: str
    tags: tuple[str, ...]
    ttl: float
    stale: float
    build: Callable[[], tuple[bytes, dict[str, str]]]
    outages: tuple[type[BaseException], ...] = ()  # exceptions of build for which a stale entry is served instead


@dataclass(frozen=True, slots=True)
class Lookup:
    """An entry, and where it was found."""

    entry: Entry
    source: Source


@dataclass(slots=True)
class _Flight:
    """A build in progress in this process."""

    owner: int  # the thread that builds
    began: float
    result: "Future[Lookup]" = field(default_factory=Future)


local = LocalTier(max_bytes=settings.CACHING_LOCAL_BYTES)
_flights: dict[str, _Flight] = {}
_flights_lock = threading.Lock()


def entry_key(name: str) -> str:
    """Return the Redis key for ``name``: a hash, so that names may have any length and characters."""
    return f"{settings.CACHING_PREFIX}:e:{hashlib.blake2b(name.encode(), digest_size=20).hexdigest()}"


def fetch(spec: CacheSpec) -> Lookup:
    """Return the entry from memory, from Redis, or built by exactly one of the callers that miss."""
    lookup = hit(spec.key, spec.tags)
    if lookup is None:
        lookup, is_reachable = _look_up(spec)
        if lookup is None or lookup.source == "stale":
            lookup = _single_flight(spec, stale=lookup, is_reachable=is_reachable)
        count("cache_lookups", source=lookup.source)
    return lookup


def hit(key: str, tags: tuple[str, ...]) -> Lookup | None:
    """Return the local entry if it may be served without asking Redis, and count that."""
    lookup = peek(key, tags)
    if lookup is not None:
        count("cache_lookups", source="local")
    return lookup


def peek(key: str, tags: tuple[str, ...]) -> Lookup | None:
    """Return the local entry if it may be served without asking Redis."""
    kept = local.get(key)
    if kept is None:
        return None
    entry, checked_at = kept
    is_recent = time.monotonic() - checked_at < settings.CACHING_LOCAL_SECONDS
    if is_recent and entry.is_fresh(time.time()) and not changed_here(tags, since=checked_at):
        return Lookup(entry, "local")
    return None


def _look_up(spec: CacheSpec) -> tuple[Lookup | None, bool]:
    """Return what Redis has, and whether Redis can be used. A fresh local entry needs only its tag versions."""
    kept = local.get(spec.key)
    checked_at = time.monotonic()
    names = [tag_key(tag) for tag in spec.tags]
    entry, versions = None, []
    try:
        if not is_settled():
            return None, False
        if kept is not None and names and kept[0].is_fresh(time.time()):
            entry, [versions] = kept[0], redis_trip(redis_command(("MGET", *names)))
        if entry is None or not _is_valid(entry, spec.tags, versions):
            [(stored, *versions)] = redis_trip(redis_command(("MGET", spec.key, *names)))
            entry = entry_from_bytes(cast(bytes | None, stored))
    except RedisError:
        return None, False
    return _accept(spec, entry, versions, checked_at=checked_at), True


def _accept(spec: CacheSpec, entry: Entry | None, versions: list[Any], *, checked_at: float) -> Lookup | None:
    """Store a valid entry locally and return it, marked stale if it is past its time; drop any other."""
    now = time.time()
    if entry is None or not entry.is_usable(now) or not _is_valid(entry, spec.tags, versions):
        local.drop(spec.key)
        return None
    _store_locally(spec.key, entry, checked_at=checked_at)
    return Lookup(entry, "redis" if entry.is_fresh(now) else "stale")


def _is_valid(entry: Entry, tags: tuple[str, ...], versions: list[Any]) -> bool:
    """Return whether the entry was built under the current version of every tag."""
    return all(
        version is not None and entry.tags.get(tag) == _text(version)
        for tag, version in zip(tags, versions, strict=True)
    )


def _text(version: Any) -> str:
    return version.decode() if isinstance(version, bytes) else str(version)


def _single_flight(spec: CacheSpec, *, stale: Lookup | None, is_reachable: bool) -> Lookup:
    """Build, or wait for the thread of this process that is already building."""
    with _flights_lock:
        flight = _flights.get(spec.key)
        if flight is not None and changed_here(spec.tags, since=flight.began):
            flight = None  # it may have read the data before the change, so callers after the change must not join it
        is_leader = flight is None
        if flight is None:
            flight = _flights[spec.key] = _Flight(threading.get_ident(), time.monotonic())
    if not is_leader:
        return _join(spec, flight, stale=stale)
    try:
        lookup = _build_under_lock(spec, stale=stale) if is_reachable else _build_unshared(spec)
    except BaseException as error:
        flight.result.set_exception(error)
        raise
    else:
        flight.result.set_result(lookup)
        return lookup
    finally:
        with _flights_lock:
            if _flights.get(spec.key) is flight:
                del _flights[spec.key]


def _join(spec: CacheSpec, flight: _Flight, *, stale: Lookup | None) -> Lookup:
    """Return the stale entry, or wait for the result of a flight."""
    if stale is not None:
        count("cache_single_flight", outcome="stale")
        return stale
    if flight.owner == threading.get_ident():
        return _build(spec, versions=None)  # the build calls itself: waiting for it would deadlock
    try:
        count("cache_single_flight", outcome="joined")
        return flight.result.result(timeout=WAIT_SECONDS)
    except TimeoutError:
        if flight.result.done():
            raise  # raised by the build itself
        count("cache_single_flight", outcome="timed_out")
        return _build(spec, versions=None)


def _build_under_lock(spec: CacheSpec, *, stale: Lookup | None) -> Lookup:
    """Take the lock that all processes share, and build. Without the lock, return the stale entry or wait for a new one."""
    token = secrets.token_hex(8)
    pause, deadline = 0.01, time.monotonic() + WAIT_SECONDS
    while True:
        asked_at = time.monotonic()
        if not is_settled():
            return _build_unshared(
                spec
            )  # since this began to wait, the process has changed a tag that Redis does not know
        try:
            locked, stored, versions = _prepare(spec, token)
        except RedisError:
            return _build_unshared(spec)
        lookup = _accept(spec, entry_from_bytes(stored), versions, checked_at=asked_at)
        if lookup is not None and lookup.source == "redis":
            if locked:
                _release(spec, token)
            count("cache_single_flight", outcome="other_process")
            return lookup
        if locked:
            return _build_and_store(spec, token, versions, checked_at=asked_at, stale=stale)
        if stale is not None:
            count("cache_single_flight", outcome="stale")
            return stale
        if asked_at > deadline:
            count("cache_single_flight", outcome="timed_out")
            return _build_unshared(spec)
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _prepare(spec: CacheSpec, token: str) -> tuple[bool, bytes | None, list[bytes]]:
    keys = [spec.key, f"{spec.key}:lock", *(tag_key(tag) for tag in spec.tags)]
    fresh = [secrets.token_hex(8) for _ in spec.tags]
    locked, stored, versions = redis_client().eval(
        PREPARE, len(keys), *keys, token, LOCK_SECONDS * 1000, *fresh, TAG_SECONDS
    )
    return bool(locked), stored, versions


def _build_and_store(
    spec: CacheSpec, token: str, versions: list[bytes], *, checked_at: float, stale: Lookup | None
) -> Lookup:
    try:
        lookup = _build(spec, versions=[_text(version) for version in versions])
    except BaseException as error:
        _release(spec, token)
        if stale is not None and isinstance(error, spec.outages):
            return stale
        raise
    entry = lookup.entry
    if len(entry.body) > MAX_BYTES:
        _release(spec, token)
        return lookup
    _store_locally(spec.key, entry, checked_at=checked_at)
    with suppress(RedisError):  # then the entry is served all the same, and the lock expires
        pipeline = redis_client().pipeline(transaction=False)
        pipeline.set(spec.key, entry_to_bytes(entry), px=int((entry.ttl + entry.stale) * 1000))
        pipeline.eval(RELEASE, 1, f"{spec.key}:lock", token)
        pipeline.execute()
    return lookup


def _release(spec: CacheSpec, token: str) -> None:
    with suppress(RedisError):  # then it expires after LOCK_SECONDS
        redis_client().eval(RELEASE, 1, f"{spec.key}:lock", token)


def _build_unshared(spec: CacheSpec) -> Lookup:
    """Build without Redis, and store the entry in this process alone, for CACHE_LOCAL_SECONDS."""
    count("degraded", mode="cache_per_process")
    checked_at = time.monotonic()
    lookup = _build(spec, versions=None)
    if len(lookup.entry.body) <= MAX_BYTES:
        _store_locally(spec.key, lookup.entry, checked_at=checked_at)
    return lookup


def _build(spec: CacheSpec, *, versions: list[str] | None) -> Lookup:
    created = time.time()
    with primary_reads():
        body, headers = spec.build()
    tags = dict(zip(spec.tags, versions, strict=True)) if versions is not None else {}
    return Lookup(
        Entry(body=body, headers=headers, created=created, ttl=spec.ttl, stale=spec.stale, tags=tags), "built"
    )


def _store_locally(key: str, entry: Entry, *, checked_at: float) -> None:
    if settings.CACHING_LOCAL_SECONDS > 0:
        local.put(key, entry, checked_at=checked_at)
