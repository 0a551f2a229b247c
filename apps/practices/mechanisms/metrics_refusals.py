"""Who was refused by which limit: a few names and counts, beside the metrics, of which they are no labels.

Names are user ids and addresses: personal data, which Redis keeps in the buckets of ``metrics_store``, for at most 25 hours. A
process keeps those of the last second, and a bucket those that were refused most, MOST_NAMES for each policy. So the counts of
names are lower bounds once there are more; the metric ``shipshape_throttled_total`` counts every refusal.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

import orjson

from apps.practices.mechanisms import metrics_store
from apps.practices.mechanisms.metrics_store import RESOLUTIONS, Resolution

MOST_NAMES = 50  # of a policy: in a process between two flushes, and in a bucket

Refusals = dict[str, dict[str, int]]  # by policy and name

# KEYS: the hash of each resolution's bucket. ARGV: the most names, the refusals as JSON, and how long to keep each bucket.
# A field of the hash is a policy, and its value the counts by name, as JSON. Adding to a bucket does not prolong its life.
_ADD = """
local most, gained = tonumber(ARGV[1]), cjson.decode(ARGV[2])
for place, key in ipairs(KEYS) do
  for policy, names in pairs(gained) do
    local stored = redis.call('HGET', key, policy)
    local counts, order = stored and cjson.decode(stored) or {}, {}
    for name, number in pairs(names) do counts[name] = (counts[name] or 0) + number end
    for name in pairs(counts) do order[#order + 1] = name end
    table.sort(order, function(one, other) return counts[one] > counts[other] end)
    for rank = most + 1, #order do counts[order[rank]] = nil end
    redis.call('HSET', key, policy, cjson.encode(counts))
  end
  if redis.call('TTL', key) < 0 then redis.call('EXPIRE', key, ARGV[2 + place]) end
end
"""

_refusals: Refusals = {}  # since the last time they were sent
_lock = Lock()


def refusal_keep(policy: str, name: str) -> None:
    """Count a refusal by name, unless MOST_NAMES others were refused by the policy since the last flush."""
    with _lock:
        names = _refusals.setdefault(policy, {})
        if name in names or len(names) < MOST_NAMES:
            names[name] = names.get(name, 0) + 1


def refusals() -> Refusals:
    """Return the refusals of this process, without those that ``refusals_sent`` removed."""
    with _lock:
        return {policy: dict(names) for policy, names in _refusals.items()}


def refusals_sent(sent: Mapping[str, Mapping[str, int]]) -> None:
    """Forget these refusals, but not what has been added to them."""
    with _lock:
        for policy, names in sent.items():
            left = Counter(_refusals.get(policy, {}))
            left.subtract(names)
            _refusals[policy] = dict(+left)
            if not _refusals[policy]:
                del _refusals[policy]


def refusals_add(gained: Refusals, *, at: float) -> None:
    """Add to the buckets in Redis. May raise redis.RedisError."""
    metrics_store.client().register_script(_ADD)(
        keys=[refusals_key(one, at=at) for one in RESOLUTIONS],
        args=[MOST_NAMES, orjson.dumps(gained), *(one.kept for one in RESOLUTIONS)],
    )


def refusals_read(resolution: Resolution, times: Sequence[float]) -> Refusals:
    """Return the sums of the buckets that contain these moments. May raise redis.RedisError."""
    with metrics_store.client().pipeline(transaction=False) as pipeline:
        for at in times:
            pipeline.hgetall(refusals_key(resolution, at=at))
        return _summed(pipeline.execute())


def _summed(buckets: Iterable[Mapping[bytes, bytes]]) -> Refusals:
    found: dict[str, Counter[str]] = {}
    for bucket in buckets:
        for policy, counts in bucket.items():
            found.setdefault(policy.decode(), Counter()).update(orjson.loads(counts))
    return {policy: dict(counts) for policy, counts in found.items()}


def refusals_key(resolution: Resolution, *, at: float) -> str:
    """Return the key of the hash of the refusals in the bucket with a moment in it (seconds since 1970)."""
    return f"{metrics_store.bucket_key(resolution, at=at)}:refusals"


def _after_fork() -> None:
    """Reset a child process: its parent sends what it has counted, and another thread may have held the lock."""
    global _lock
    _lock = Lock()
    _refusals.clear()


os.register_at_fork(after_in_child=_after_fork)
