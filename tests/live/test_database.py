"""A web process whose PostgreSQL is busy, slow, stopped or frozen, and malformed bodies, as clients see them."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.fleet import Answer, ask, fleet_on
from tests.problems import assert_problem
from tests.processes import wait_until
from tests.servers import postgresql_paused, postgresql_stopped
from tools.fleet import Fleet
from tools.stack import Stack

NOW = "/api/v1/sample/notes/slow?seconds=0"  # the shortest request that needs PostgreSQL


@pytest.fixture(scope="module")
def fleet(own_stack: Stack) -> Iterator[Fleet]:
    """Return a web process of 8 threads and 2 connections, without an edge."""
    with fleet_on(own_stack.state.urls, instances=1, WEB_THREADS="8", DATABASE_POOL_MAX="2") as fleet:
        yield fleet


def get(fleet: Fleet, path: str) -> Answer:
    return ask(fleet.webs[0].url, path)


def serves_again(fleet: Fleet, seconds: float) -> float:
    """Return how long it takes until the response is 200, in seconds."""
    started = time.monotonic()
    while (answer := get(fleet, NOW)).status != 200:
        assert time.monotonic() - started < seconds, answer
        time.sleep(0.1)
    return time.monotonic() - started


def asleep(own_stack: Stack) -> int:
    """Return how many sessions are in pg_sleep()."""
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
    return int(row[0]) if row else 0


def test_exhausted_pool_is_503(fleet: Fleet, own_stack: Stack) -> None:
    with ThreadPoolExecutor(8) as pool:
        holders = [pool.submit(get, fleet, "/api/v1/sample/notes/slow?seconds=4") for _ in range(2)]
        wait_until(lambda: asleep(own_stack) == 2, seconds=3, what="both connections to be held")
        refused = list(pool.map(lambda _: get(fleet, NOW), range(3)))
        free = get(fleet, "/api/v1/sample/notes/busy?seconds=0")
    for answer in refused:
        assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    assert min(answer.seconds for answer in refused) < 3.5  # the others, too, where the machine has no other work
    assert free.status == 200, "what needs no database waits for none"
    assert [holder.result().status for holder in holders] == [200, 200]


def test_statement_timeout_is_504(fleet: Fleet) -> None:
    answer = get(fleet, "/api/v1/sample/notes/slow?seconds=25")
    assert_problem(answer, 504, "timed-out")
    assert answer.headers["retry-after"]
    assert 4.5 < answer.seconds < 12
    assert get(fleet, NOW).status == 200


def test_stopped_server_is_503_until_its_return(fleet: Fleet, own_stack: Stack) -> None:
    assert get(fleet, NOW).status == 200
    with postgresql_stopped(own_stack):
        for answer in (get(fleet, NOW), get(fleet, "/api/v1/sample/notes?limit=3")):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
            assert answer.seconds < 6
        assert get(fleet, "/healthz").status == 200
    serves_again(fleet, 15)


def test_no_request_fails_after_a_restart(fleet: Fleet, own_stack: Stack) -> None:
    """After a restart every pooled connection is dead. The next request gets a new one."""
    assert get(fleet, NOW).status == 200
    own_stack.restart("postgresql")
    assert get(fleet, NOW).status == 200


def test_frozen_server_is_503_within_the_clients_timeout(fleet: Fleet, own_stack: Stack) -> None:
    """The kernel of a frozen server still acknowledges packets, so only the client's timeout ends the wait."""
    assert get(fleet, NOW).status == 200
    with postgresql_paused(own_stack):
        answer = get(fleet, NOW)
    assert_problem(answer, 503, "unavailable")
    assert answer.seconds < 12
    serves_again(fleet, 20)


def test_health_checks_pass_while_the_server_is_frozen(fleet: Fleet, own_stack: Stack) -> None:
    """The edge gives up a health check after two seconds, so waiting for PostgreSQL must take less."""
    taken = []
    while not taken or (taken[-1] >= 2 and len(taken) < 3):  # a machine that pauses for a moment does so once
        serves_again(fleet, 20)
        time.sleep(1.1)  # readiness is cached for a second
        with postgresql_paused(own_stack):
            answer = get(fleet, "/readyz")
        assert (answer.status, answer.json()["checks"]["database"]) == (200, "down")
        taken.append(answer.seconds)
    assert min(taken) < 2, taken
    serves_again(fleet, 20)


def send(fleet: Fleet, head: str, body: bytes) -> bytes:
    """Send one request as bytes and return everything the server sends."""
    address = urlsplit(fleet.webs[0].url)
    head = f"{head}\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n"
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server may answer before it has read all
            connection.sendall(head.encode() + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def chunks(size: int) -> bytes:
    return b"".join(b"8000\r\n" + b" " * 0x8000 + b"\r\n" for _ in range(size // 0x8000)) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        # Its length is not known before it is read, and who has not signed in is not read.
        ("Content-Type: application/json\r\nTransfer-Encoding: chunked", chunks(3 * 1024 * 1024), b"401"),
        ("Content-Type: application/json\r\nContent-Length: 3145728", b" " * 3145728, b"413"),
        ("Content-Type: application/json\r\nContent-Length: 99999999999", b"", b"413"),
        ("Content-Type: application/json\r\nContent-Length: 9999999", b"", b"413"),
        ("Content-Length: 2", b"{}", b"415"),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2", b"{}", b"415"),
        ("Content-Type: application/json\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", b"401"),
    ],
    ids=["chunked", "large", "claimed", "unsent", "untyped", "compressed", "small"],
)
def test_bodies_on_the_wire(fleet: Fleet, head: str, body: bytes, status: bytes) -> None:
    answer = send(fleet, f"POST /api/v1/sample/notes HTTP/1.1\r\n{head}", body)
    assert answer.split(b" ", 2)[1] == status, answer[:300]
    assert b"application/problem+json" in answer
