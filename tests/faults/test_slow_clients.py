"""Clients that send or read slowly, directly and through the edge: other clients notice nothing."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.submitters import COUNTS, WIDE, Owner
from tests.fleet import fleet_running
from tests.noticed import unharmed
from tests.rounds import Rounds
from tests.slow import Attack, Slow
from tools.fleet import Fleet
from tools.stack import Stack

NOTES = "/api/v1/sample/notes"
FEW = f"{NOTES}?limit=1"  # what others read
LARGE = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js.map"

_HEAD = ("Host: localhost", "X-Forwarded-Proto: https", "Content-Type: application/json")


def _request(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", *_HEAD, *headers, "", ""]).encode()


LOGIN = "POST /api/v1/auth/login"
CHUNKED = _request(f"POST {COUNTS}", "Transfer-Encoding: chunked")
MEGABYTE = b"%x\r\n%s\r\n" % (1_150_000, b"x" * 1_150_000)
DIRECT = {
    "a body with its length": Slow(first=_request(LOGIN, "Content-Length: 1000"), drip=b"x"),
    "a body of /healthz": Slow(first=_request("POST /healthz", "Content-Length: 1000"), drip=b"x"),
    "a body in chunks": Slow(first=_request(LOGIN, "Transfer-Encoding: chunked"), drip=b"1\r\nx\r\n"),
    "a chunk's size": Slow(first=_request(LOGIN, "Transfer-Encoding: chunked"), drip=b"0"),
    "a large body": Slow(first=CHUNKED + MEGABYTE, drip=b"1\r\nx\r\n"),
    "a request's head": Slow(first=b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", drip=b"X"),
    "a request's first byte": Slow(first=b"G", drip=b""),
    "nothing": Slow(),
    "nothing, and not closing": Slow(first=_request("GET /healthz", "Connection: close"), stays=True),
}


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(stack, edge=True, instances=1, WEB_CONCURRENCY="1", WEB_THREADS="8", **WIDE) as fleet:
        yield fleet


def held(fleet: Fleet, slow: Slow, rounds: Rounds, *, connections: int, through_edge: bool) -> None:
    url, context = (fleet.url, fleet.ssl_context()) if through_edge else (fleet.webs[0].url, None)
    unharmed(url, FEW, lambda: Attack(url, slow, connections=connections, context=context), rounds, context=context)


@pytest.mark.parametrize("slow", DIRECT.values(), ids=DIRECT.keys())
def test_slow_senders_hold_no_instance(fleet: Fleet, rounds: Rounds, slow: Slow) -> None:
    held(fleet, slow, rounds, connections=24, through_edge=False)


@pytest.mark.parametrize("connections", [20, 40])
def test_slow_senders_hold_no_instance_behind_the_edge(fleet: Fleet, rounds: Rounds, connections: int) -> None:
    """More than the edge holds of a body, so that it passes on what has come."""
    slow = Slow(first=CHUNKED + MEGABYTE * 3, drip=b"5\r\nxxxxx\r\n", every=4.0)
    held(fleet, slow, rounds, connections=connections, through_edge=True)


@pytest.fixture(scope="module")
def page(fleet: Fleet) -> str:
    """Return a page of 2 MB, the longest there is; a list that declares its long texts heavy ends earlier."""
    owner = Owner(fleet)
    with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"]) as database:
        database.execute(
            "INSERT INTO sample_note (id, title, body, owner_id, published, version, created_at, updated_at)"
            " SELECT gen_random_uuid(), 'long', repeat('x', 20000), (SELECT id FROM accounts_user LIMIT 1),"
            " true, 1, now(), now() FROM generate_series(1, 100)"
        )
    path = f"{NOTES}?title=long&limit=100"
    assert len(owner.ask(path).content) > 2_000_000
    return path


@pytest.mark.parametrize("through_edge", [False, True])
@pytest.mark.parametrize("what", ["a file", "a page"])
def test_slow_readers_hold_no_instance(fleet: Fleet, rounds: Rounds, page: str, what: str, through_edge: bool) -> None:
    slow = Slow(first=_request(f"GET {LARGE if what == 'a file' else page}"), every=0.5, sip=1024)
    held(fleet, slow, rounds, connections=60, through_edge=through_edge)
