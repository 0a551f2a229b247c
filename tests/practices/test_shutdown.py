"""shutdown (139): a stop loses no request in flight and leaves no connection behind."""

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from apps.operations.fleet import Fleet, Service
from tests.fleet import Answer, ask


@pytest.mark.parametrize("stop", [Service.terminate, Service.terminate_group], ids=["process", "group"])
def test_requests_in_flight_are_answered(fleet: Fleet, stop: Callable[[Service], None]) -> None:
    """Three threads at work; TERM comes to the process (process managers) or to all of them (Heroku-style hosts)."""
    web = fleet.webs[0]
    answers: list[Answer] = []
    paths = ["/api/v1/notes/slow?seconds=4", "/api/v1/notes/busy?seconds=4"]
    clients = [threading.Thread(target=lambda path=path: answers.append(ask(web.url, path))) for path in paths]
    try:
        for client in clients:
            client.start()
        time.sleep(1)
        stop(web)
        asked = time.monotonic()
        time.sleep(0.5)
        # It drains: not ready, and still serving whoever has not noticed.
        ready = ask(web.url, "/readyz")
        assert (ready.status, ready.headers["content-type"]) == (503, "application/problem+json")
        assert ready.json()["type"].endswith("/problems/not-ready")
        assert ready.headers["retry-after"]
        assert ask(web.url, "/api/v1/notes").status == 200
        assert web.wait(27) == 0
        assert time.monotonic() - asked < 26
        for client in clients:
            client.join(10)
        assert [answer.status for answer in answers] == [200, 200]
    finally:
        web.stop()
        web.start()


def test_no_connection_to_postgresql_is_left(fleet: Fleet) -> None:
    database = fleet.webs[0].environment["DATABASE_URL"]
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(database, autocommit=True) as connection:
        for web in fleet.webs:
            assert ask(web.url, "/api/v1/notes/slow?seconds=0").status == 200
        assert _number(connection, others) >= 2
        try:
            for web in fleet.webs:
                web.terminate()
            assert [web.wait(27) for web in fleet.webs] == [0, 0]
            deadline = time.monotonic() + 5
            while _number(connection, others):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            for web in fleet.webs:
                web.stop()
                web.start()


def _number(connection: "psycopg.Connection[tuple[int]]", query: str) -> int:
    row = connection.execute(query).fetchone()
    return row[0] if row else 0


def test_what_the_last_second_counted_is_kept(fleet: Fleet) -> None:
    """Killed at once instead, at most a second of metrics would be missing."""
    first, second = fleet.webs
    token = {"Authorization": f"Bearer {first.environment['METRICS_TOKEN']}"}
    wanted = 'shipshape_http_requests_total{method="GET",route="/api/v1/me",status="4xx"} '

    def told() -> float:
        lines = ask(second.url, "/metrics", headers=token).content.decode().splitlines()
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    before = told()
    try:
        first.terminate()
        time.sleep(1.5)
        for _ in range(3):
            assert ask(first.url, "/api/v1/me").status == 401
        assert first.wait(27) == 0
        assert told() == before + 3
    finally:
        first.stop()
        first.start()


def test_an_idle_instance_stops_soon(fleet: Fleet) -> None:
    web = fleet.webs[1]
    try:
        started = time.monotonic()
        web.terminate()
        assert web.wait(27) == 0
        assert time.monotonic() - started < 15
    finally:
        web.stop()
        web.start()
