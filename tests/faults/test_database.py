"""Outages of PostgreSQL under load: no 500, no long waits, cached reads continue, and accepted writes are kept."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest

from tests.faults.submitters import WIDE
from tests.fleet import Answer, ask, fleet_on
from tests.secrets import FLEET_PASSWORD
from tests.servers import Fault, postgresql_paused, postgresql_restarted, postgresql_stopped
from tools.fleet import Fleet
from tools.stack import Stack

RATE = 30  # requests a second: a third each of cached reads, signed-in reads and writes
INSTANCES, POOL = 2, 3
STATEMENT_SECONDS = 5  # statement_timeout of a web process
SLACK = 1.5  # seconds that a loaded machine may add to any of the bounds
TRIES = 3  # a machine that pauses adds more, but not every time


@pytest.fixture(scope="module")
def fleet(own_stack: Stack) -> Iterator[Fleet]:
    with fleet_on(own_stack.state.urls, instances=INSTANCES, DATABASE_POOL_MAX=str(POOL), **WIDE) as fleet:
        yield fleet


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A signed-in user: an access token, and the path of a public note, which is cached."""

    token: str
    note: str


@pytest.fixture(scope="module")
def owner(fleet: Fleet) -> Owner:
    url, credentials = fleet.webs[0].url, {"email": "owner@example.com", "password": FLEET_PASSWORD}
    assert ask(url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
    token = str(ask(url, "/api/v1/auth/login", method="POST", body=credentials).json()["access"])
    note = {"title": "Read by all", "body": "<p>x</p>", "published": True}
    written = ask(url, "/api/v1/sample/notes", method="POST", body=note, headers={"Authorization": f"Bearer {token}"})
    return Owner(token=token, note=written.headers["location"])


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request: its kind, when it was sent (monotonic seconds), and its response."""

    kind: str
    sent_at: float
    answer: Answer


class Traffic:
    """RATE requests per second, sent on time even if earlier ones have no response yet."""

    def __init__(self, fleet: Fleet, owner: Owner) -> None:
        self._fleet, self._owner = fleet, owner
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(96)
        self._futures: list[Future[Seen]] = []
        self._sender = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Traffic:
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._sender.join(30)
        self._pool.shutdown()

    def _send(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._futures.append(self._pool.submit(self._ask, number))
            number, due = number + 1, due + 1 / RATE

    def _ask(self, number: int) -> Seen:
        kind = ("cached", "read", "write")[number % 3]
        url = self._fleet.webs[number // 3 % INSTANCES].url
        headers = {} if kind == "cached" else {"Authorization": f"Bearer {self._owner.token}"}
        body = {"title": f"Note {number}", "body": "<p>x</p>"} if kind == "write" else None
        notes = "/api/v1/sample/notes"
        path = {"cached": self._owner.note, "read": f"{notes}?limit=3", "write": notes}[kind]
        sent_at = time.monotonic()
        answer = ask(url, path, method="POST" if body else "GET", body=body, headers=headers)
        return Seen(kind=kind, sent_at=sent_at, answer=answer)

    def seen(self) -> list[Seen]:
        """Return the requests and responses so far. Raise if a connection broke."""
        return [future.result(timeout=30) for future in self._futures]


@contextlib.contextmanager
def exhausted(own_stack: Stack) -> Iterator[None]:
    """Take all connections of the server, at last those of the web processes."""
    url, web = own_stack.state.urls["DATABASE_URL"], "pg_stat_activity WHERE application_name = 'shipshape-web'"
    with contextlib.ExitStack() as taken, psycopg.connect(url, autocommit=True) as first:
        for _ in range(20):
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(psycopg.connect(url, connect_timeout=5))
            if not first.execute(f"SELECT pid FROM {web}").fetchall():
                break
            first.execute(f"SELECT pg_terminate_backend(pid) FROM {web}")
        else:
            raise AssertionError("the web processes got connections all the time")
        yield


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(postgresql_stopped, 5), (postgresql_paused, 12), (postgresql_restarted, 1), (exhausted, 4)],
)
def test_under_load(
    fleet: Fleet,
    own_stack: Stack,
    owner: Owner,
    fault: Fault,
    seconds: float,
    soak: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(5 if soak else 1):
        for _ in range(1 if soak else TRIES):
            with Traffic(fleet, owner) as traffic:
                time.sleep(2)
                gone_at = time.monotonic()
                with fault(own_stack):
                    time.sleep(seconds)
                back_at = time.monotonic()
                time.sleep(4)
            seen = traffic.seen()
            report, late = judged(seen, gone_at=gone_at, back_at=back_at)
            with capsys.disabled():
                print(f"\n{fault.__name__} {seconds} s: {report}")
            assert_kept(own_stack, seen)
            if not late:
                break
        assert not late, late


def judged(seen: list[Seen], *, gone_at: float, back_at: float) -> tuple[str, list[str]]:
    """Assert what clients may see of an outage. Return the figures, and what took too long."""
    assert {one.answer.status for one in seen} <= {200, 201, 503, 504}, [
        one for one in seen if one.answer.status not in (200, 201, 503, 504)
    ][:3]
    refused = [one for one in seen if one.answer.status in (503, 504)]
    assert all(one.answer.headers.get("retry-after") for one in refused)
    assert all(b'"request_id"' in one.answer.content for one in refused)

    during = [one for one in seen if gone_at <= one.sent_at < back_at]
    waited = sorted((one.answer.seconds for one in refused), reverse=True)
    in_a_query = INSTANCES * POOL  # those that had a connection when it happened
    bounds = {
        f"in a query {waited[:in_a_query]}": max(waited[:in_a_query], default=0) - STATEMENT_SECONDS - 2,
        f"refused {waited[in_a_query : in_a_query + 5]}": max(waited[in_a_query:], default=0) - 2,
    }

    cached = [one.answer.status for one in during if one.kind == "cached"]
    assert cached.count(200) >= 0.8 * len(cached), cached
    most = sorted(one.answer.seconds for one in during if one.kind == "cached")[: math.ceil(0.8 * len(cached))]
    bounds[f"cached {most[-3:]}"] = max(most, default=0) - 2

    after = [one.sent_at + one.answer.seconds - back_at for one in seen if one.kind != "cached" and is_good(one)]
    first = min(second for second in after if second > 0)
    bounds[f"first success {first}"] = first - 3
    figures = (
        f"{len(during)} requests, {len(refused)} refused, slowest {[round(second, 1) for second in waited[:8]]} s, "
        f"cached {cached.count(200)}/{len(cached)}, first success {first:.1f} s after its return"
    )
    return figures, [what for what, over in bounds.items() if over >= SLACK]


def is_good(one: Seen) -> bool:
    return one.answer.status in (200, 201)


def assert_kept(own_stack: Stack, seen: list[Seen]) -> None:
    """Assert that every note with a 201 is stored."""
    accepted = [one.answer.json()["id"] for one in seen if one.answer.status == 201]
    assert accepted
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM sample_note WHERE id = ANY(%s::uuid[])", [accepted]).fetchone()
    assert row == (len(accepted),)
