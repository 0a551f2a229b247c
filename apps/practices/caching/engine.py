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
class CacheSpec:
    """What to look for and how to make it. ``build`` returns the body and the headers kept with it, or raises."""

    key: str
    tags: tuple[str, ...]
    ttl: float
    stale: float
    build: Callable[[], tuple[bytes, dict[str, str]]]
    outages: tuple[type[BaseException], ...] = ()  # what build may raise that a stale entry helps over


@dataclass(frozen=True, slots=True)
class Lookup:
    """An entry and where it came from."""

    entry: Entry
    source: Source


@dataclass(slots=True)
class _Flight:
    """A build under way in this process."""

    owner: int
    began: float
    tags: tuple[str, ...]
    result: "Future[Lookup]" = field(default_factory=Future)


local = LocalTier()
_flights: dict[str, _Flight] = {}
_flights_lock = threading.Lock()


def entry_key(name: str) -> str:
    """The Redis key of what is called ``name``: hashed, so that length and characters do not matter."""
    return f"{settings.CACHING_PREFIX}:e:{hashlib.blake2b(name.encode(), digest_size=20).hexdigest()}"


def fetch(spec: CacheSpec) -> Lookup:
    """This function will return the entry from memory, from Redis, or built by exactly one of the callers."""
    lookup = peek(spec.key, spec.tags)
    if lookup is None:
        lookup, reachable = _look_up(spec)
        if lookup is None or lookup.source == "stale":
            lookup = _single_flight(spec, stale=lookup, reachable=reachable)
    count("cache_lookups", source=lookup.source)
    return lookup


def peek(key: str, tags: tuple[str, ...]) -> Lookup | None:
    """The entry if this process may answer it without asking anybody."""
    kept = local.get(key)
    if kept is None:
        return None
    entry, checked_at = kept
    recent = time.monotonic() - checked_at < settings.CACHING_LOCAL_SECONDS
    if recent and entry.is_fresh(time.time()) and not changed_here(tags, since=checked_at):
        return Lookup(entry, "local")
    return None


def _look_up(spec: CacheSpec) -> tuple[Lookup | None, bool]:
    """One round trip to tier two: what it has, and whether it can be used at all."""
    kept = local.get(spec.key)
    checked_at = time.monotonic()
    names = [tag_key(tag) for tag in spec.tags]
    entry, versions = None, []
    try:
        if not is_settled():
            return None, False
        if kept is not None and names and kept[0].is_fresh(time.time()):
            entry, versions = kept[0], redis_client().mget(names)
        if entry is None or not _is_valid(entry, spec.tags, versions):
            stored, *versions = redis_client().mget([spec.key, *names])
            entry = entry_from_bytes(cast(bytes | None, stored))
    except RedisError:
        return None, False
    return _validated(spec, entry, versions, checked_at=checked_at), True


def _validated(spec: CacheSpec, entry: Entry | None, versions: list[Any], *, checked_at: float) -> Lookup | None:
    """An entry that agrees with the tags' versions is kept in tier one and served, as stale when it is past its time."""
    now = time.time()
    if entry is None or not _is_valid(entry, spec.tags, versions) or not entry.is_usable(now):
        local.drop(spec.key)
        return None
    _store_locally(spec.key, entry, checked_at=checked_at)
    return Lookup(entry, "redis" if entry.is_fresh(now) else "stale")


def _is_valid(entry: Entry | None, tags: tuple[str, ...], versions: list[Any]) -> bool:
    if entry is None:
        return False
    return all(
        version is not None and entry.tags.get(tag) == _text(version)
        for tag, version in zip(tags, versions, strict=True)
    )


def _text(version: Any) -> str:
    return version.decode() if isinstance(version, bytes) else str(version)


def _single_flight(spec: CacheSpec, *, stale: Lookup | None, reachable: bool) -> Lookup:
    """Build, or wait for the thread of this process that is building already."""
    with _flights_lock:
        flight = _flights.get(spec.key)
        if flight is not None and changed_here(spec.tags, since=flight.began):
            flight = None  # it may have read what was true before the change: not for callers that came after
        leads = flight is None
        if flight is None:
            flight = _flights[spec.key] = _Flight(threading.get_ident(), time.monotonic(), spec.tags)
    if not leads:
        return _wait_for(spec, flight, stale=stale)
    try:
        lookup = _build_under_lock(spec, stale=stale) if reachable else _build_unshared(spec)
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


def _wait_for(spec: CacheSpec, flight: _Flight, *, stale: Lookup | None) -> Lookup:
    if stale is not None:
        return stale
    if flight.owner == threading.get_ident():
        return _build(spec, versions=None)[0]  # a build that needs itself must not wait for itself
    try:
        return flight.result.result(timeout=WAIT_SECONDS)
    except NotInTime:
        if flight.result.done():
            raise  # the build itself timed out
        return _build(spec, versions=None)[0]


def _build_under_lock(spec: CacheSpec, *, stale: Lookup | None) -> Lookup:
    """Take the lock that all processes share and build; whoever does not get it serves stale or waits for the entry."""
    token = secrets.token_hex(8)
    pause, deadline = 0.01, time.monotonic() + WAIT_SECONDS
    while True:
        asked_at = time.monotonic()
        try:
            locked, stored, versions = _prepare(spec, token)
        except RedisError:
            return _build_unshared(spec)
        lookup = _validated(spec, entry_from_bytes(stored), versions, checked_at=asked_at)
        if lookup is not None and lookup.source == "redis":
            if locked:
                _release(spec, token)
            return lookup
        if locked:
            return _build_and_store(spec, token, versions, checked_at=asked_at, stale=stale)
        if stale is not None:
            return stale
        if asked_at > deadline:
            return _build_unshared(spec)
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _prepare(spec: CacheSpec, token: str) -> tuple[bool, bytes | None, list[bytes]]:
    keys = [spec.key, f"{spec.key}:lock", *(tag_key(tag) for tag in spec.tags)]
    fresh = [secrets.token_hex(8) for _ in spec.tags]
    answer = redis_client().eval(PREPARE, len(keys), *keys, token, LOCK_SECONDS * 1000, *fresh, TAG_SECONDS)
    return bool(answer[0]), answer[1], answer[2]


def _build_and_store(
    spec: CacheSpec, token: str, versions: list[bytes], *, checked_at: float, stale: Lookup | None
) -> Lookup:
    try:
        lookup, entry = _build(spec, versions=[_text(version) for version in versions])
    except BaseException as error:
        _release(spec, token)
        if stale is not None and isinstance(error, spec.outages):
            return stale
        raise
    if len(entry.body) > MAX_BYTES:
        _release(spec, token)
        return lookup
    _store_locally(spec.key, entry, checked_at=checked_at)
    try:
        pipeline = redis_client().pipeline(transaction=False)
        pipeline.set(spec.key, entry_to_bytes(entry), px=int((entry.ttl + entry.stale) * 1000))
        pipeline.eval(RELEASE, 1, f"{spec.key}:lock", token)
        pipeline.execute()
    except RedisError:
        return lookup  # built all the same; the lock ends by itself
    return lookup


def _release(spec: CacheSpec, token: str) -> None:
    try:
        redis_client().eval(RELEASE, 1, f"{spec.key}:lock", token)
    except RedisError:
        return  # it ends by itself after LOCK_SECONDS


def _build_unshared(spec: CacheSpec) -> Lookup:
    """Redis cannot be used: build, and let this process alone keep it for as long as it may go unchecked."""
    checked_at = time.monotonic()
    lookup, entry = _build(spec, versions=None)
    if len(entry.body) <= MAX_BYTES:
        _store_locally(spec.key, entry, checked_at=checked_at)
    return lookup


def _build(spec: CacheSpec, *, versions: list[str] | None) -> tuple[Lookup, Entry]:
    entry = Entry(body=b"", created=time.time(), ttl=spec.ttl, stale=spec.stale)
    with primary_reads():
        body, headers = spec.build()
    tags = dict(zip(spec.tags, versions, strict=True)) if versions is not None else {}
    entry = replace(entry, body=body, headers=headers, tags=tags)
    return Lookup(entry, "built"), entry


def _store_locally(key: str, entry: Entry, *, checked_at: float) -> None:
    if settings.CACHING_LOCAL_SECONDS > 0:
        local.put(
            key,
            entry,
            checked_at=checked_at,
            max_entries=settings.CACHING_LOCAL_ENTRIES,
            max_bytes=settings.CACHING_LOCAL_BYTES,
        )
