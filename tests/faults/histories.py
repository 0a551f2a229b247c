"""A history of writes and cached reads of numbers, and the check that no read was staler than the promise."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.clients import bearer, registered, signed_in
from tests.faults.cached_urls import STALE, TTL
from tests.fleet import ask
from tools.fleet import Fleet

LOCAL = 1.0  # CACHE_LOCAL_SECONDS as shipped
LIFETIME = float(TTL + STALE)
BUILD = 1.5  # seconds that a build in progress may take on a loaded machine
RETRY = (
    6.0  # seconds after an outage of Redis until a process has sent what it could not: the breaker's pause, and a retry
)
NOTHING = (OSError, http.client.HTTPException)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A write that was acknowledged at ``ended``, or a read; times are monotonic seconds."""

    register: int
    instance: int
    value: int
    started: float
    ended: float


@dataclass(kw_only=True)
class History:
    """The record of the clients' reads and writes, and of the times when Redis or an instance was in trouble."""

    writes: list[Operation] = field(default_factory=list)
    reads: list[Operation] = field(default_factory=list)
    redis_troubles: list[tuple[float, float]] = field(default_factory=list)
    deaths: list[tuple[int, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def redis_trouble(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.redis_troubles.append((started, time.monotonic()))

    def bound(self, write: Operation, read: Operation) -> float:
        """Return for how many seconds after the acknowledgement of a write a read may miss it (docs/caching.md)."""
        deaths = [when for instance, when in self.deaths if instance == write.instance and when >= write.started]
        if write.instance == read.instance and not any(when <= read.ended for when in deaths):
            return 0.0
        was_unsent = any(write.started < end and write.ended + RETRY > start for start, end in self.redis_troubles)
        if was_unsent or any(when <= write.ended for when in deaths):
            return LIFETIME + BUILD
        return LOCAL + BUILD

    def violations(self) -> list[str]:
        """Return the reads that were staler than the bound, or that showed what nobody had written."""
        found = []
        for read in self.reads:
            written = [write for write in self.writes if write.register == read.register]
            if not any(write.value == read.value and write.started <= read.ended for write in written):
                found.append(f"{read} shows what was not written")
            found += [
                f"{read} is {read.started - write.ended:.2f} s staler than {write}, {self.bound(write, read):.1f} s allowed"
                for write in written
                if write.value > read.value and read.started > write.ended + self.bound(write, read)
            ]
        return found


class Clients:
    """Threads that write increasing numbers into notes and read them from both instances, until the block ends.

    Half of the reads are anonymous, the others those of a signed-in user other than the writer.
    """

    def __init__(
        self, fleet: Fleet, database: str, history: History, rng: random.Random, *, registers: int = 4
    ) -> None:
        self._urls = [web.url for web in fleet.webs]
        self._history, self._database, self._over = history, database, threading.Event()
        self._headers, self._reader = (bearer(signed_in(self._urls[0], registered(self._urls[0]))) for _ in range(2))
        self.paths = []
        for register in range(registers + 1):  # one for the test itself
            body = {"title": "0", "body": "", "published": True}
            asked = time.monotonic()
            made = ask(self._urls[0], "/api/v1/sample/notes", method="POST", body=body, headers=self._headers)
            assert made.status == 201, made
            self.paths.append(f"/api/v1/cached/public/{made.json()['id']}")
            self._note(history.writes, register, 0, 0, asked)
        seeds = [rng.random() for _ in range(3 * registers)]
        self._threads = [threading.Thread(target=self._write, args=(n, seeds[n])) for n in range(registers)]
        self._threads += [threading.Thread(target=self._read, args=(seed,)) for seed in seeds[registers:]]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def write(self, register: int, instance: int, value: int) -> None:
        """Write a number; record it, also if only the response was lost."""
        asked = time.monotonic()
        try:
            answer = ask(
                self._urls[instance],
                self.paths[register],
                method="PATCH",
                body={"title": str(value)},
                headers=self._headers,
            )
        except NOTHING:
            if self.stored(register) != value:
                return
        else:
            if answer.status != 200:
                self._history.errors.append(f"PATCH: {answer}")
                return
        self._note(self._history.writes, register, instance, value, asked)

    def stored(self, register: int) -> int:
        """Return the number in PostgreSQL."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            query = "SELECT title FROM sample_note WHERE id = %s"
            [title] = connection.execute(query, [self.paths[register].rpartition("/")[2]]).fetchone() or [""]
        return int(title)

    def _note(self, kind: list[Operation], register: int, instance: int, value: int, asked: float) -> None:
        kind.append(Operation(register=register, instance=instance, value=value, started=asked, ended=time.monotonic()))

    def _write(self, register: int, seed: float) -> None:
        rng, value = random.Random(seed), 0
        while not self._over.wait(rng.uniform(0.1, 0.8)):
            value += 1
            self.write(register, rng.randrange(2), value)

    def _read(self, seed: float) -> None:
        rng = random.Random(seed)
        while not self._over.wait(rng.uniform(0.01, 0.06)):
            register, instance, asked = rng.randrange(len(self.paths)), rng.randrange(2), time.monotonic()
            try:
                if rng.randrange(2):
                    answer = ask(self._urls[instance], self.paths[register])
                else:
                    path = self.paths[register].replace("public", "shared")
                    answer = ask(self._urls[instance], path, headers=self._reader)
            except NOTHING:
                continue  # the instance is starting again
            if answer.status != 200:
                self._history.errors.append(f"GET: {answer}")
                continue
            self._note(self._history.reads, register, instance, int(answer.json()["title"]), asked)
