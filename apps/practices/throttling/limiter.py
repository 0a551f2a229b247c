"""The rate limiter: GCRA (the generic cell rate algorithm, ITU-T I.371) in one Redis script, one round trip for all limits.

A policy of q requests per w seconds allows a burst of q, then one request every w/q seconds. For each client one number is
stored: the theoretical arrival time (TAT) of its next request. The script checks all limits, by Redis's clock, before it
counts the request against any of them. While Redis is unavailable each process counts in its own memory, so N processes
allow up to N times as many requests.
"""

import hashlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache
from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.redis import redis_command, redis_trip

SCRIPT = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local backlogs, arrivals, allowed = {}, {}, 1
for i = 1, #KEYS do
  local interval, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local arrival = tonumber(redis.call('GET', KEYS[i]) or now)
  if arrival < now then arrival = now end
  arrivals[i] = arrival
  if arrival + interval - now > window then allowed = 0 end
end
for i = 1, #KEYS do
  local interval = tonumber(ARGV[2 * i - 1])
  if allowed == 1 then
    arrivals[i] = arrivals[i] + interval
    redis.call('SET', KEYS[i], string.format('%.0f', arrivals[i]), 'PX', math.ceil((arrivals[i] - now) / 1000))
  end
  backlogs[i] = string.format('%.0f', arrivals[i] - now)
end
return {allowed, backlogs}
"""
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # EVALSHA runs a cached script by its SHA-1
LOCAL_CLIENTS = 20_000  # counted in a process's memory while Redis is unavailable

Rate = tuple[int, int]  # requests, seconds


class Limit:
    """A policy, and the client that it limits: an account or an address. ``interval`` and ``window`` are in microseconds."""

    __slots__ = ("interval", "key", "policy", "rate", "window")

    def __init__(self, policy: str, identity: str, rate: Rate) -> None:
        quota, seconds = rate
        self.policy = policy
        self.rate = rate
        self.key = f"{policy}:{quota}/{seconds}:{identity}"  # with the rate: a changed one starts with a full quota
        self.window = seconds * 1_000_000
        self.interval = self.window / quota  # between requests at the policy's sustained rate

    @property
    def identity(self) -> str:
        """Return the id of the account, or the address, as the limiter counts it."""
        quota, seconds = self.rate
        return self.key.removeprefix(f"{self.policy}:{quota}/{seconds}:")


@dataclass(slots=True)
class Decision:
    """The state of one limit after a request. ``backlog`` is the time until its quota is full again, in microseconds."""

    limit: Limit
    backlog: float

    @property
    def remaining(self) -> int:
        """Requests that would be allowed now."""
        return max(0, int((self.limit.window - self.backlog + 1) // self.limit.interval))

    @property
    def reset(self) -> int:
        """Seconds until the quota is full again."""
        return math.ceil(self.backlog / 1_000_000)

    @property
    def retry_after(self) -> int:
        """Seconds until one more request is allowed; 0 if it would be allowed now."""
        return max(0, math.ceil((self.backlog + self.limit.interval - self.limit.window - 1) / 1_000_000))


def limit_for(policy: str, identity: str) -> Limit | None:
    """Return the limit of ``identity`` under a policy of THROTTLING_POLICIES; None if no such policy exists."""
    rate = settings.THROTTLING_POLICIES.get(policy)
    return Limit(policy, identity, rate) if rate else None


def acquire(limits: Sequence[Limit]) -> tuple[bool, list[Decision]]:
    """Count one request against all limits, or against none if one of them is exhausted. Return whether it is allowed."""
    if not limits:
        return True, []
    try:
        allowed, backlogs = _acquire_shared(limits)
    except RedisError:
        count("degraded", mode="limits_per_process")
        allowed, backlogs = local_limiter.acquire(limits, now=time.monotonic() * 1_000_000)
    if allowed:
        for limit in limits:
            count("limits_allowed", policy=limit.policy)
    return allowed, [Decision(limit, backlog) for limit, backlog in zip(limits, backlogs, strict=True)]


def _acquire_shared(limits: Sequence[Limit]) -> tuple[bool, list[float]]:
    prefix = settings.CACHING_PREFIX
    keys = [f"{prefix}:l:{limit.key}" for limit in limits]
    numbers = [number for limit in limits for number in (limit.interval, limit.window)]
    try:
        [(allowed, backlogs)] = redis_trip(redis_command(("EVALSHA", SHA, len(keys), *keys, *numbers)))
    except NoScriptError:
        [(allowed, backlogs)] = redis_trip(redis_command(("EVAL", SCRIPT, len(keys), *keys, *numbers)))
    return bool(allowed), [float(backlog) for backlog in backlogs]


class LocalLimiter:
    """The same algorithm in this process's memory, for at most ``size`` clients; the least recently seen are dropped."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._arrivals: LRUCache[str, float] = LRUCache(size)

    def acquire(self, limits: Sequence[Limit], *, now: float) -> tuple[bool, list[float]]:
        """Return whether the request is allowed, and each limit's backlog, as the script does; ``now`` in microseconds."""
        with self._lock:
            arrivals = [max(now, self._arrivals.get(limit.key, now)) for limit in limits]
            allowed = all(at + limit.interval - now <= limit.window for at, limit in zip(arrivals, limits, strict=True))
            if allowed:
                arrivals = [at + limit.interval for at, limit in zip(arrivals, limits, strict=True)]
                self._arrivals.update((limit.key, at) for at, limit in zip(arrivals, limits, strict=True))
            return allowed, [at - now for at in arrivals]

    def clear(self) -> None:
        """Forget all clients."""
        with self._lock:
            self._arrivals.clear()

    def __len__(self) -> int:
        return len(self._arrivals)


local_limiter = LocalLimiter(LOCAL_CLIENTS)
