"""caching on two processes, from outside: one build for all misses, bounded staleness whatever fails, nothing poisoned."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import psycopg
import pytest
import redis

from tests.clients import bearer, registered, signed_in
from tests.faults.histories import Clients, History
from tests.faults.submitters import WIDE
from tests.fleet import ask, fleet_on
from tests.processes import wait_until
from tests.races import at_once
from tests.rounds import Rounds
from tests.servers import redis_flushed, redis_paused, redis_stopped
from tests.standby import Standby, standby_running
from tools.fleet import Fleet
from tools.stack import Stack

pytestmark = pytest.mark.timeout(300)

COUNTED = "/api/v1/cached/counted"


@pytest.fixture(scope="module")
def standby(own_stack: Stack) -> Iterator[Standby]:
    with standby_running(own_stack) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(own_stack: Stack, standby: Standby) -> Iterator[Fleet]:
    """Two processes of eight threads that may read from a replica."""
    options = {"WEB_THREADS": "8", "DATABASE_REPLICA_URL": standby.url, **WIDE}
    with fleet_on(own_stack.state.urls, settings_module="tests.faults.cached_settings", **options) as fleet:
        yield fleet


@pytest.fixture
def runs(own_stack: Stack) -> Iterator[Callable[[], int]]:
    """Return how often the counted view has run."""
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE runs")

        def count() -> int:
            [number] = connection.execute(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM runs"
            ).fetchone() or [0]
            return int(number)

        yield count
        connection.execute("DROP SEQUENCE runs")


def test_200_misses_on_two_processes_run_the_view_once(fleet: Fleet, runs: Callable[[], int]) -> None:
    answers = at_once(200, lambda number: ask(fleet.webs[number % 2].url, COUNTED))
    assert Counter(answer.status for answer in answers) == {200: 200}
    assert {answer.content for answer in answers} == {b'{"run":1}'}
    assert runs() == 1


def test_history_stays_within_the_bounds(
    fleet: Fleet, own_stack: Stack, standby: Standby, rounds: Rounds, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in rounds:
        seed = int(os.environ.get("HISTORY_SEED") or secrets.randbelow(1_000_000))
        with capsys.disabled():
            print(f"\nHISTORY_SEED={seed}")
        history, rng = History(), random.Random(seed)
        clients = Clients(fleet, own_stack.state.urls["DATABASE_URL"], history, rng)
        faults = Faults(fleet=fleet, stack=own_stack, standby=standby, clients=clients, history=history, rng=rng)
        with clients:
            faults.all_once()
        violations = history.violations()
        assert not violations, "\n".join([f"HISTORY_SEED={seed}", *violations[:20]])
        assert history.errors == []
        assert len(history.reads) > 100
        rounds.tell(reads=len(history.reads), writes=len(history.writes))


@dataclass(frozen=True, kw_only=True)
class Faults:
    """The faults of a history, each for a second or so."""

    fleet: Fleet
    stack: Stack
    standby: Standby
    clients: Clients
    history: History
    rng: random.Random

    def all_once(self) -> None:
        """Break everything once, in any order; the death early, so that the history is longer than its bound."""
        faults = [self.redis_stopped, self.redis_killed, self.redis_hung, self.redis_flushed, self.replica_lagging]
        self.rng.shuffle(faults)
        faults.insert(self.rng.randrange(2), self.process_killed)
        for fault in faults:
            fault()
            self.pause()

    def pause(self) -> None:
        time.sleep(self.rng.uniform(0.5, 1.5))

    def redis_stopped(self) -> None:
        with self.history.redis_trouble(), redis_stopped(self.stack):
            self.pause()

    def redis_killed(self) -> None:
        with self.history.redis_trouble():
            self.stack.servers["redis"].kill()
            self.pause()
            self.stack.servers["redis"].start()

    def redis_hung(self) -> None:
        with self.history.redis_trouble(), redis_paused(self.stack):
            self.pause()

    def redis_flushed(self) -> None:
        with redis_flushed(self.stack):
            self.pause()

    def replica_lagging(self) -> None:
        self.standby.execute("SELECT pg_wal_replay_pause()")
        self.pause()
        self.standby.execute("SELECT pg_wal_replay_resume()")

    def process_killed(self) -> None:
        """Kill a process between the commit of a write and its tag change, which Redis holds back."""
        number, register = self.rng.randrange(2), len(self.clients.paths) - 1
        with redis.Redis.from_url(self.stack.state.urls["REDIS_URL"]) as server, self.history.redis_trouble():
            for web in self.fleet.webs:
                assert ask(web.url, self.clients.paths[register]).status == 200  # caches what will be stale
            server.execute_command("CLIENT", "PAUSE", "20000", "WRITE")  # not reads; drops the command of a dead client
            with ThreadPoolExecutor(1) as pool:
                write = pool.submit(self.clients.write, register, number, 1)
                wait_until(lambda: self.clients.stored(register) == 1, seconds=10, what="the commit")
                for process in psutil.Process(self.fleet.webs[number].pid).children():
                    process.kill()
                self.history.deaths.append((number, time.monotonic()))
                write.result(30)
            server.execute_command("CLIENT", "UNPAUSE")


NOTES = "/api/v1/sample/notes"
EVIL = "evil.example"
# Requests for a page that others read as well, by what differs from theirs: path and query, headers, and the status. Those
# with 200 must share one entry with the others.
VARIANTS: dict[str, tuple[str, dict[str, str], int]] = {
    "forged host": ("{path}?{query}", {"Host": EVIL}, 400),
    "port in the host": ("{path}?{query}", {"Host": "localhost:1"}, 200),
    "target with another host": (f"http://{EVIL}{{path}}?{{query}}", {}, 200),
    "forwarded host": ("{path}?{query}", {"X-Forwarded-Host": EVIL, "X-Host": EVIL}, 200),
    "forwarded, standard": ("{path}?{query}", {"Forwarded": f"host={EVIL};proto=http"}, 200),
    "forwarded prefix": ("{path}?{query}", {"X-Forwarded-Prefix": f"/{EVIL}", "X-Script-Name": f"/{EVIL}"}, 200),
    "plain http": ("{path}?{query}", {"X-Forwarded-Proto": "http"}, 403),
    "other schemes": ("{path}?{query}", {"X-Forwarded-Scheme": "http", "X-Forwarded-Ssl": "off"}, 200),
    "forwarded port": ("{path}?{query}", {"X-Forwarded-Port": "1"}, 200),
    "another client": ("{path}?{query}", {"X-Forwarded-For": "198.51.100.9", "True-Client-IP": "198.51.100.9"}, 200),
    "rewritten address": ("{path}?{query}", {"X-Original-URL": f"/{EVIL}", "X-Rewrite-URL": f"/{EVIL}"}, 200),
    "rewritten method": ("{path}?{query}", {"X-HTTP-Method-Override": "POST", "X-Method-Override": "DELETE"}, 200),
    "language": ("{path}?{query}", {"Accept-Language": EVIL}, 200),
    "encoding": ("{path}?{query}", {"Accept-Encoding": EVIL}, 200),
    "origin": ("{path}?{query}", {"Origin": f"https://{EVIL}"}, 200),
    "agent": ("{path}?{query}", {"User-Agent": EVIL, "Referer": f"https://{EVIL}"}, 200),
    "cookie": ("{path}?{query}", {"Cookie": f"theme={EVIL}"}, 200),
    "range": ("{path}?{query}", {"Range": "bytes=0-1"}, 200),
    "no-cache": ("{path}?{query}", {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}, 200),
    "preconditions": ("{path}?{query}", {"If-None-Match": f'"{EVIL}"', "If-Modified-Since": EVIL}, 200),
    "request id": ("{path}?{query}", {"X-Request-ID": f"{EVIL}-0123456789"}, 200),
    "type": ("{path}?{query}", {"Content-Type": "text/html", "Content-Length": "0"}, 200),
    "reordered": ("{path}?{reordered}", {}, 200),
    "encoded name": ("{path}?%6C{query_tail}", {}, 200),
    "encoded path": ("/api/v1/sample/note%73?{query}", {}, 200),
    "empty pairs": ("{path}?&{query}&&", {}, 200),
    "unknown parameter": (f"{{path}}?{{query}}&utm={EVIL}", {}, 400),
    "unknown blank parameter": ("{path}?{query}&utm", {}, 400),
    "repeated": ("{path}?{query}&limit=1", {}, 400),
    "repeated with another value": ("{path}?{query}&limit=2", {}, 400),
    "re-cased": ("{path}?L{query_tail}", {}, 400),
    "semicolon": ("{path}?{query};limit=2", {}, 400),
    "encoded separator": ("{path}?{query}%26limit=2", {}, 400),
    "slash": ("{path}/?{query}", {}, 404),
    "two slashes": ("/{path}?{query}", {}, 404),
    "re-cased path": ("/api/v1/sample/NOTES?{query}", {}, 404),
    "path parameter": (f"{{path}};{EVIL}?{{query}}", {}, 404),
    "dots": ("/api/v1/x/../sample/notes?{query}", {}, 404),
    "encoded question mark": ("{path}%3F{query}", {}, 404),
}


def test_nothing_of_a_request_poisons_or_splits_an_entry(fleet: Fleet) -> None:
    """Each variant comes first, when the page is in no cache, and again when it is."""
    url = fleet.webs[0].url
    writer = bearer(signed_in(url, registered(url)))
    for title in ("one", "two"):
        body = {"title": title, "body": "", "published": True}
        assert ask(url, NOTES, method="POST", body=body, headers=writer).status == 201
    wrong = {}
    projections = itertools.permutations(("id", "title", "body", "owner", "version", "created_at"))
    for (name, (target, headers, status)), fields in zip(VARIANTS.items(), projections, strict=False):
        query, reordered = f"limit=1&fields={','.join(fields)}", f"fields={','.join(fields)}&limit=1"
        path = target.format(path=NOTES, query=query, query_tail=query[1:], reordered=reordered)
        first = ask(url, path, headers=headers)
        plain = [ask(url, f"{NOTES}?{query}") for _ in range(3)][-1]  # by now a hit, and one that is replayed
        again = ask(url, path, headers=headers)
        true = ask(url, f"{NOTES}?{query}", headers=writer)
        checks = {
            "status": [answer.status for answer in (first, plain, again)] == [status, 200, status],
            "content": (plain.content, plain.headers["etag"]) == (true.content, true.headers["etag"]),
            "reflection": EVIL not in f"{plain.headers}{plain.content!r}",
        }
        if status == 200:
            checks["same content"] = first.content == again.content == plain.content
            checks["one entry"] = all("hit" in answer.headers["cache-status"] for answer in (plain, again))
        if not all(checks.values()):
            wrong[name] = checks
    assert wrong == {}
