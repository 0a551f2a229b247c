"""The fleet's metrics in Redis: totals, buckets of time, a row for each process, and the changes of release.

Totals are for Prometheus. They never decrease unless Redis loses them, which Prometheus treats as a restart. Buckets are for
plots of the last day, at three resolutions (RESOLUTIONS), so that each range is read in at most 96 buckets. Both are hashes of
numbers. Their fields are ids of 8 bytes; ``names`` has what they mean, and a process adds what is missing there.

The client is not ``redis.py``'s guarded one. That one is the cache's: another server (CACHE_URL), timeouts too short for a
pipeline of all counters, and a breaker, which readiness must not consult in place of Redis and which counts in here.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, cast

import orjson
import redis
from django.conf import settings

from apps.practices.mechanisms.metrics_numbers import Slow
from apps.practices.mechanisms.metrics_process import Process

MOST_FIELDS = 10_000  # of the fleet; further ones are not stored
MOST_ROUTES = 500  # of which a bucket has the slowest request
MOST_RELEASES = 50  # changes of the release that are kept
LIVE_SECONDS = 20.0  # a process is live if its row is not older than that
_ROW_SECONDS = 3600.0  # rows of processes that were killed are deleted after that
TIMEOUT = 0.5


@dataclass(frozen=True, slots=True)
class Resolution:
    """How long each bucket is, and for how long it is kept, in seconds."""

    seconds: int
    kept: int


# For ranges of 1, 6 and 24 hours: 60, 72 and 96 buckets. Each is kept for an hour longer than it is read.
RESOLUTIONS = (Resolution(60, 2 * 3600), Resolution(300, 7 * 3600), Resolution(900, 25 * 3600))

# KEYS: the names, the totals, a bucket for each resolution, and the slowest requests for each resolution.
# ARGV: the most fields, the most routes, how long to keep each bucket, the number of fields, then for each its id and the amount,
# and then for each route the route, the milliseconds and the request as JSON.
# Returns the ids that have no name yet, and how many fields were refused.
_ADD = """
local buckets = (#KEYS - 2) / 2
local known, most, refused, unnamed = redis.call('HLEN', KEYS[1]), tonumber(ARGV[1]), 0, {}
local at = 3 + buckets
local last = at + 2 * tonumber(ARGV[at])
while at < last do
  local id, amount = ARGV[at + 1], ARGV[at + 2]
  local is_known = redis.call('HEXISTS', KEYS[1], id) == 1
  if not is_known and known < most then
    known = known + 1
    unnamed[#unnamed + 1] = id
    is_known = true
  end
  if is_known then
    for key = 2, 2 + buckets do redis.call('HINCRBYFLOAT', KEYS[key], id, amount) end
  else
    refused = refused + 1
  end
  at = at + 2
end
while at < #ARGV do
  local route, milliseconds, request = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  for key = 3 + buckets, #KEYS do
    local slowest = redis.call('HGET', KEYS[key], route)
    if slowest then
      if tonumber(string.match(slowest, '[%d.]+')) < milliseconds then redis.call('HSET', KEYS[key], route, request) end
    elseif redis.call('HLEN', KEYS[key]) < tonumber(ARGV[2]) then
      redis.call('HSET', KEYS[key], route, request)
    end
  end
  at = at + 3
end
for bucket = 1, buckets do
  redis.call('EXPIRE', KEYS[2 + bucket], ARGV[2 + bucket])
  redis.call('EXPIRE', KEYS[2 + buckets + bucket], ARGV[2 + bucket])
end
return {unnamed, refused}
"""


class FleetUnavailable(Exception):
    """Redis did not answer; only this process's numbers are known."""


def add(gained: Mapping[bytes, float], slowest: Mapping[str, Slow], *, at: float) -> int:
    """Add to all hashes; return how many fields were refused, because there are MOST_FIELDS others."""
    ids = {_id(field): field for field in gained}
    pairs = [part for field_id, field in ids.items() for part in (field_id, gained[field])]
    requests = [
        part for route, slow in slowest.items() for part in (route, round(slow.seconds * 1000, 2), _slow_write(slow))
    ]
    kept = [resolution.kept for resolution in RESOLUTIONS]
    unnamed, refused = client().register_script(_ADD)(
        keys=[
            names_key(),
            totals_key(),
            *(bucket_key(one, at=at) for one in RESOLUTIONS),
            *(slowest_key(one, at=at) for one in RESOLUTIONS),
        ],
        args=[MOST_FIELDS, MOST_ROUTES, *kept, len(ids), *pairs, *requests],
    )
    if unnamed:
        client().hset(names_key(), mapping={field_id: ids[field_id] for field_id in unnamed})
    return cast(int, refused)


def _id(field: bytes) -> bytes:
    return hashlib.blake2b(field, digest_size=8).digest()


def _slow_write(slow: Slow) -> bytes:
    # The milliseconds come first: the script compares them.
    return orjson.dumps(
        [round(slow.seconds * 1000, 2), slow.method, slow.status, slow.request_id, int(slow.at)],
    )


def slow_read(stored: bytes) -> Slow:
    """Return a slow request as it was stored."""
    milliseconds, method, status, request_id, at = orjson.loads(stored)
    return Slow(milliseconds / 1000, method, status, request_id, at)


def names_key() -> str:
    """Return the key of the hash of the fields' names."""
    return _key("names")


def totals_key() -> str:
    """Return the key of the hash of totals."""
    return _key("total")


def bucket_key(resolution: Resolution, *, at: float) -> str:
    """Return the key of the hash of the numbers of the bucket with a moment in it (seconds since 1970)."""
    return _key(f"{resolution.seconds}:{int(at // resolution.seconds)}")


def slowest_key(resolution: Resolution, *, at: float) -> str:
    """Return the key of the hash of the slowest request of each route in that bucket."""
    return f"{bucket_key(resolution, at=at)}:slowest"


def fleet_totals() -> dict[bytes, float]:
    """Return the fleet's totals by field; raise FleetUnavailable if Redis does not answer."""
    try:
        with client().pipeline(transaction=False) as pipeline:
            pipeline.hgetall(names_key())
            pipeline.hgetall(totals_key())
            names, stored = pipeline.execute()
    except redis.RedisError as error:
        raise FleetUnavailable from error
    # A name that is being added is missing for a moment.
    return {names[field_id]: float(value) for field_id, value in stored.items() if field_id in names}


def slowest_recent(*, at: float) -> dict[str, list[Slow]]:
    """Return the slowest requests of this minute and the last one by route; raise FleetUnavailable if Redis does not answer."""
    finest = RESOLUTIONS[0]
    try:
        with client().pipeline(transaction=False) as pipeline:
            for moment in (at - finest.seconds, at):
                pipeline.hgetall(slowest_key(finest, at=moment))
            return slow_by_route(pipeline.execute())
    except redis.RedisError as error:
        raise FleetUnavailable from error


def slow_by_route(stored: Sequence[Mapping[bytes, bytes]], *, most: int | None = None) -> dict[str, list[Slow]]:
    """Return the slow requests of these buckets by route, the slowest first.

    With ``most``, those are the slowest of each route, and others if they are among the slowest ``most`` of all: a day of fifty
    routes has 4,800.
    """
    every = [(_milliseconds(written), route, written) for bucket in stored for route, written in bucket.items()]
    every.sort(key=itemgetter(0), reverse=True)
    found: dict[bytes, list[Slow]] = {}
    for place, (_, route, written) in enumerate(every):
        if most is None or place < most or route not in found:
            found.setdefault(route, []).append(slow_read(written))
    return {route.decode(): slowest for route, slowest in found.items()}


def _milliseconds(stored: bytes) -> float:
    return float(stored[1 : stored.index(b",")])


class Buckets(NamedTuple):
    """The stored numbers: names by id; for each moment, the numbers by id and the slowest requests by route; the rest."""

    names: dict[bytes, bytes]
    numbers: list[dict[bytes, bytes]]
    slowest: list[dict[bytes, bytes]]
    processes: dict[bytes, bytes]
    releases: list[bytes]


def buckets_read(resolution: Resolution, times: Sequence[float]) -> Buckets:
    """Return the buckets that contain these moments, in one round trip. May raise redis.RedisError."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.hgetall(names_key())
        pipeline.hgetall(_key("processes"))
        pipeline.lrange(_key("releases"), 0, -1)
        for at in times:
            pipeline.hgetall(bucket_key(resolution, at=at))
        for at in times:
            pipeline.hgetall(slowest_key(resolution, at=at))
        names, processes, releases, *stored = pipeline.execute()
    return Buckets(names, stored[: len(times)], stored[len(times) :], processes, releases)


def process_write(process: Process) -> None:
    """Store the row of a process."""
    client().hset(_key("processes"), process.id, orjson.dumps(process))


def process_started(process: Process) -> None:
    """Note the release of a process that has started, and delete rows of processes that ended long ago without doing so."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.hgetall(_key("processes"))
        pipeline.lrange(_key("releases"), -1, -1)
        rows, latest = pipeline.execute()
    ended = [key for key, row in rows.items() if process_read(row).seen < process.seen - _ROW_SECONDS]
    with client().pipeline(transaction=False) as pipeline:
        if ended:
            pipeline.hdel(_key("processes"), *ended)
        if process.role != "command" and (not latest or orjson.loads(latest[0])[0] != process.release):
            pipeline.rpush(_key("releases"), orjson.dumps([process.release, process.started]))
            pipeline.ltrim(_key("releases"), -MOST_RELEASES, -1)
        pipeline.execute()


def process_ended(process_id: str) -> None:
    """Delete the row of a process that ends."""
    client().hdel(_key("processes"), process_id)


def process_read(stored: bytes) -> Process:
    """Return a process as its row was stored."""
    return Process(**orjson.loads(stored))


def live(rows: Mapping[bytes, bytes], *, now: float) -> list[Process]:
    """Return the processes whose rows are recent, by role, host and pid."""
    found = [process for process in map(process_read, rows.values()) if process.seen > now - LIVE_SECONDS]
    return sorted(found, key=lambda process: (process.role, process.host, process.pid))


def fleet_processes(*, now: float) -> list[Process]:
    """Return the live processes; raise FleetUnavailable if Redis does not answer."""
    try:
        return live(cast(Any, client().hgetall(_key("processes"))), now=now)
    except redis.RedisError as error:
        raise FleetUnavailable from error


def _key(name: str) -> str:
    return f"{settings.OBSERVABILITY_METRICS_PREFIX}:{name}"


_client: redis.Redis | None = None


def client() -> redis.Redis:
    """Return this process's Redis client for metrics and readiness: half a second for each call, no retries."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(
            settings.OBSERVABILITY_REDIS_URL,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=None,
        )
    return _client


def close() -> None:
    """Close the connection. The next call of ``client`` makes another."""
    global _client
    if _client is not None:
        _client.close()
        _client = None


def _after_fork() -> None:
    global _client
    _client = None  # the parent's


os.register_at_fork(after_in_child=_after_fork)
