"""shutdown: a stop loses no request in flight and leaves no connection behind."""

import socket
import threading
import time
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from tests.fleet import Answer, all_started, ask, fleet_running
from tests.processes import alive, wait_until
from tools.fleet import Fleet, Service
from tools.stack import Stack

OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port = ANY(%s)
"""


def test_requests_in_flight_are_answered(fleet: Fleet) -> None:
    """Send SIGTERM to a process, as process managers do, and to a group, as Heroku-style hosts do."""
    answers: list[Answer] = []
    clients = [
        threading.Thread(target=lambda url=web.url, path=path: answers.append(ask(url, path)))
        for web in fleet.webs
        for path in ("/api/v1/sample/notes/slow?seconds=3", "/api/v1/sample/notes/busy?seconds=8")
    ]
    try:
        for client in clients:
            client.start()
        time.sleep(1)
        fleet.webs[0].terminate()
        fleet.webs[1].terminate_group()
        asked = time.monotonic()
        time.sleep(0.5)
        for web in fleet.webs:
            # It drains: not ready, but still serving.
            ready = ask(web.url, "/readyz")
            assert (ready.status, ready.headers["content-type"]) == (503, "application/problem+json")
            assert ready.json()["type"].endswith("/problems/not-ready")
            assert ask(web.url, "/api/v1/sample/notes").status == 200
        assert [web.wait(27) for web in fleet.webs] == [0, 0]
        assert time.monotonic() - asked < 26
        for client in clients:
            client.join(15)
        assert [answer.status for answer in answers] == [200] * 4
    finally:
        all_started(fleet)


def test_idle_instance_stops_soon_and_closes_connections(fleet: Fleet) -> None:
    web = fleet.webs[0]
    with psycopg.connect(web.environment["DATABASE_URL"], autocommit=True) as connection:
        assert ask(web.url, "/api/v1/sample/notes/slow?seconds=0").status == 200
        ports = _database_ports(web, connection)
        assert _open(connection, ports) >= 1
        try:
            started = time.monotonic()
            web.terminate()
            assert web.wait(27) == 0
            assert time.monotonic() - started < 15
            wait_until(lambda: not _open(connection, ports), seconds=5, what="its connections to be closed")
        finally:
            all_started(fleet)


@pytest.fixture
def fleet_unasked(stack: Stack) -> Iterator[Fleet]:
    """Start three instances of two processes each, without an edge that checks their health."""
    with fleet_running(stack, instances=3, edge=False, WEB_CONCURRENCY="2") as fleet:
        yield fleet


@pytest.mark.live
def test_instance_without_requests_stops_at_once(fleet_unasked: Fleet) -> None:
    unasked, asked, silent = fleet_unasked.webs
    with socket.create_connection(("127.0.0.1", silent.port or 0), timeout=10):  # as browsers do; it never sends a byte
        time.sleep(16)
        assert ask(asked.url, "/readyz").status == 200
        processes = [process.pid for process in psutil.Process(asked.pid).children()]
        started = time.monotonic()
        asked.terminate()
        unasked.terminate()
        assert unasked.wait(27) == 0
        assert (alive(processes), len(processes)) == (processes, 2), "the other drains, whichever process was asked"
        silent.terminate()
        assert [asked.wait(27), silent.wait(27)] == [0, 0]
        assert time.monotonic() - started < 15


def _database_ports(web: Service, connection: "psycopg.Connection[tuple[int]]") -> list[int]:
    """Return the local ports of the instance's connections to PostgreSQL."""
    processes = psutil.Process(web.pid).children(recursive=True)
    return [
        found.laddr.port
        for process in processes
        for found in process.net_connections("tcp")
        if found.raddr and found.raddr.port == connection.info.port
    ]


def _open(connection: "psycopg.Connection[tuple[int]]", ports: list[int]) -> int:
    row = connection.execute(OTHERS, [ports]).fetchone()
    return row[0] if row else 0


def test_metrics_of_the_last_second_are_kept(fleet: Fleet) -> None:
    """Lose no metrics at a clean stop; a kill would lose those of at most a second."""
    first, second = fleet.webs
    token = {"Authorization": f"Bearer {first.environment['METRICS_TOKEN']}"}
    wanted = (
        'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",'
        'http_route="/api/v1/sample/notes/busy"} '
    )

    def reported() -> float:
        lines = ask(second.url, "/metrics", headers=token).content.decode().splitlines()
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    before = -1.0
    while before != (before := reported()):  # until earlier requests are counted
        time.sleep(1.5)
    try:
        # The last thing the process does is to answer this; its flush of every second comes too late for it.
        last = threading.Thread(target=ask, args=(first.url, "/api/v1/sample/notes/busy?seconds=4"))
        last.start()
        time.sleep(0.5)
        first.terminate()
        assert first.wait(27) == 0
        last.join(10)
        assert reported() == before + 1
    finally:
        all_started(fleet)
