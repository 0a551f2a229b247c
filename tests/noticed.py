"""Measure what other clients notice during an attack: the time of /healthz, and the rate of cached pages."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self, TypeVar

from tests.fleet import Answer, ask
from tests.rounds import Rounds

SECONDS = 2.0
SOAK_SECONDS = 10.0
HEALTHZ_SECONDS = 0.25  # the promise on a quiet machine: p99 of /healthz, and what is left of cached reads
READS = 0.8
BUSY = 2.0  # where the machine is busy with other things
TRIES = 3
PAUSE_SECONDS = 1.0
_quiet: dict[tuple[str, str], Felt] = {}


class Attack(Protocol):
    """What attacks, and what it was answered how often."""

    answers: Counter[Any]


Attacking = TypeVar("Attacking", bound=Attack)


@dataclass(frozen=True, kw_only=True)
class Felt:
    """What others noticed: the 99th percentile of /healthz in seconds, and reads a second."""

    healthz: float
    reads: float


class Crowd:
    """Threads that run while the block does; each run returns when ``_stop`` is set."""

    def __init__(self, runs: Sequence[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        time.sleep(1)  # until it is felt
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


class Flood(Crowd):
    """Clients that each send a request, wait for the response, then as long as that says, or a second.

    ``answers`` counts statuses, ``refusals`` holds what was not a success.
    """

    def __init__(self, calls: Sequence[Callable[[], Answer]]) -> None:
        super().__init__([partial(self._run, call) for call in calls])
        self.answers: Counter[int] = Counter()
        self.refusals: list[Answer] = []

    def _run(self, call: Callable[[], Answer]) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = PAUSE_SECONDS
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = call()
                self.answers[answer.status] += 1
                if answer.status >= 300:
                    self.refusals.append(answer)
                pause = float(answer.headers.get("retry-after", PAUSE_SECONDS))


def felt(url: str, path: str, *, seconds: float, context: ssl.SSLContext | None = None) -> Felt:
    """Ask for /healthz and for a cached page for so many seconds, each on a connection of its own."""
    until = time.monotonic() + seconds
    taken: list[float] = []
    reads = [0]

    def read() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                reads[0] += ask(url, path, context=context, timeout=5).status == 200

    reader = threading.Thread(target=read)
    reader.start()
    while (began := time.monotonic()) < until:
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert ask(url, "/healthz", context=context, timeout=5).status == 200
        taken.append(time.monotonic() - began)
        time.sleep(0.01)
    reader.join()
    if len(taken) < 2:
        return Felt(healthz=taken[0], reads=reads[0] / seconds)
    return Felt(healthz=statistics.quantiles(taken, n=100)[-1], reads=reads[0] / seconds)


def unharmed(
    url: str,
    path: str,
    attack: Callable[[], AbstractContextManager[Attacking]],
    rounds: Rounds,
    *,
    context: ssl.SSLContext | None = None,
) -> list[Attacking]:
    """Assert that /healthz and the cached page at ``path`` go on during each attack, and return the attacks.

    What is felt without an attack is measured once for each page, and with ``--soak`` before each attack. Where the machine
    is busy with other things, both are measured again before a failure is believed.
    """
    seconds = SOAK_SECONDS if rounds.is_soak else SECONDS
    slack, tries = (1.0, 1) if rounds.is_soak else (BUSY, TRIES)
    ask(url, path, context=context)
    attacks = []
    for _ in rounds:
        for left in reversed(range(tries)):
            if rounds.is_soak or left < tries - 1 or (url, path) not in _quiet:
                _quiet[url, path] = felt(url, path, seconds=seconds, context=context)
            before = _quiet[url, path]
            with attack() as attacking:
                during = felt(url, path, seconds=seconds, context=context)
            attacks.append(attacking)
            is_well = during.healthz <= slack * (HEALTHZ_SECONDS + before.healthz)
            if is_well and during.reads >= READS / slack * before.reads:
                break
            assert left, (before, during, attacking.answers)
        rounds.tell(before=before.healthz, during=during.healthz, reads=during.reads / before.reads)
    return attacks
