"""The limiter: GCRA (the generic cell rate algorithm, ITU-T I.371) in one Redis script, one round trip for all policies.

A policy of q per w seconds lets a burst of q pass, then one every w/q seconds. One number a client is kept: the theoretical
arrival time of its next request. All policies are tested before any is taken, by Redis's clock. With Redis away each process
goes on counting for itself in a bounded table: N processes then let up to N times as many through.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from apps.practices.mechanisms.redis import redis_client

SCRIPT = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local answers, arrivals, allowed = {}, {}, 1
for i = 1, #KEYS do
  local step, span = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local due = tonumber(redis.call('GET', KEYS[i]) or now)
  if due < now then due = now end
  arrivals[i] = due
  if due + step - now > span then allowed = 0 end
end
for i = 1, #KEYS do
  local step = tonumber(ARGV[2 * i - 1])
  if allowed == 1 then
    arrivals[i] = arrivals[i] + step
    redis.call('SET', KEYS[i], string.format('%.0f', arrivals[i]), 'PX', math.ceil((arrivals[i] - now) / 1000))
  end
  answers[i] = string.format('%.0f', arrivals[i] - now)
end
return {allowed, answers}
"""
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # by which Redis knows a script it has seen
LOCAL_CLIENTS = 20_000  # clients a process counts by itself when Redis is away

Rate = tuple[int, int]  # how many, in how many seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """One policy and whom it is counted for."""

    policy: str
    identity: str
    rate: Rate

    @property
    def key(self) -> str:
        """What the count is kept under. It names the rate: a stored time means nothing under another one, so that a limit
        that an operator has changed holds from the next request on."""
        quota, seconds = self.rate
        return f"{self.policy}:{quota}/{seconds}:{self.identity}"

    @property
    def step(self) -> float:
        """Microseconds between requests at the policy's pace."""
        return self.rate[1] * 1_000_000 / self.rate[0]

    @property
    def span(self) -> float:
        """Microseconds of the whole window."""
        return self.rate[1] * 1_000_000


@dataclass(frozen=True, slots=True)
class Decision:
    """What one policy says after a request: ``backlog`` is in microseconds until its quota is whole again."""

    limit: Limit
    backlog: float

    @property
    def remaining(self) -> int:
        """Requests that would pass at once."""
        return max(0, int((self.limit.span - self.backlog + 1) // self.limit.step))

    @property
    def reset(self) -> int:
        """Seconds until the quota is whole again."""
        return math.ceil(self.backlog / 1_000_000)

    @property
    def retry_after(self) -> int:
        """Seconds until one more request passes; 0 when it would at once."""
        return max(0, math.ceil((self.backlog + self.limit.step - self.limit.span - 1) / 1_000_000))


def limit_for(policy: str, identity: str) -> Limit | None:
    """The charge for a policy of THROTTLING_POLICIES; None when there is no such policy, which is then unlimited."""
    rate = settings.THROTTLING_POLICIES.get(policy)
    return Limit(policy, identity, rate) if rate else None


def acquire(limits: Sequence[Limit]) -> tuple[bool, list[Decision]]:
    """This function will count one request for all limits, or for none when one of them is used up."""
    if not limits:
        return True, []
    try:
        allowed, backlogs = _shared(limits)
    except RedisError:
        allowed, backlogs = local_limiter.acquire(limits, now=time.monotonic() * 1_000_000)
    return allowed, [Decision(one, backlog) for one, backlog in zip(limits, backlogs, strict=True)]


def _shared(limits: Sequence[Limit]) -> tuple[bool, list[float]]:
    keys = [f"{settings.CACHING_PREFIX}:l:{one.key}" for one in limits]
    numbers = [number for one in limits for number in (one.step, one.span)]
    client = redis_client()
    try:
        allowed, backlogs = client.evalsha(SHA, len(keys), *keys, *numbers)
    except NoScriptError:
        allowed, backlogs = client.eval(SCRIPT, len(keys), *keys, *numbers)
    return bool(allowed), [float(backlog) for backlog in backlogs]


class LocalLimiter:
    """The same algorithm in this process's memory, least recently used clients out first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._due: OrderedDict[str, float] = OrderedDict()

    def acquire(self, limits: Sequence[Limit], *, now: float) -> tuple[bool, list[float]]:
        """As the script; ``now`` in microseconds."""
        with self._lock:
            due = [max(now, self._due.get(one.key, now)) for one in limits]
            allowed = all(at + one.step - now <= one.span for at, one in zip(due, limits, strict=True))
            if allowed:
                due = [at + one.step for at, one in zip(due, limits, strict=True)]
                for at, one in zip(due, limits, strict=True):
                    self._due[one.key] = at
                    self._due.move_to_end(one.key)
                while len(self._due) > self._size:
                    self._due.popitem(last=False)
            return allowed, [at - now for at in due]

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._due.clear()

    def __len__(self) -> int:
        return len(self._due)


local_limiter = LocalLimiter(LOCAL_CLIENTS)
