"""database, through a PgBouncer in transaction mode, with fewer connections to PostgreSQL than clients."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tests.fleet import Answer, ask, fleet_on
from tests.pgbouncer import SERVERS, PgBouncer
from tests.problems import assert_problem
from tests.processes import frozen, wait_until
from tests.secrets import FLEET_PASSWORD
from tests.servers import postgresql_paused, postgresql_stopped
from tests.standby import standby_running
from tools.fleet import Fleet, Service
from tools.stack import Stack, port_free

NOTES = "/api/v1/sample/notes"
NOW = f"{NOTES}/slow?seconds=0"  # the shortest request that needs PostgreSQL


# --- the settings

REPORT = """
import json, django
django.setup()
from django.conf import settings
from django.db import connection, connections
names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
with connection.cursor() as cursor:
    values = []
    for name in names:
        cursor.execute(f"SHOW {name}")
        values.append(cursor.fetchone()[0])
print(json.dumps({"bounds": values, "ports": {one.alias: int(one.settings_dict["PORT"]) for one in connections.all()}}))
if connection.pool:
    connection.close_pool()
"""


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("web", ["5s", "2s", "10s"]),
        ("worker", ["5min", "10s", "2min"]),
        ("command", ["0", "30s", "0"]),
    ],
)
def test_only_web_processes_use_it(own_stack: Stack, pgbouncer: PgBouncer, kind: str, bounds: list[str]) -> None:
    direct = own_stack.state.urls["DATABASE_URL"]
    addresses = {"DATABASE_URL": direct, "DATABASE_PGBOUNCER": pgbouncer.url, "DATABASE_REPLICA_URL": direct}
    ran = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**os.environ, **addresses, "PROCESS_KIND": kind},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["bounds"] == bounds
    postgresql = urlsplit(direct).port
    through = {"default": pgbouncer.port, "replica": postgresql}
    assert report["ports"] == (through if kind == "web" else {"default": postgresql})


# --- the service


@pytest.fixture(scope="module")
def fleet(own_stack: Stack, pgbouncer: PgBouncer) -> Iterator[Fleet]:
    """Return two instances with five connections each to PgBouncer, and a worker that uses PostgreSQL directly."""
    given = {f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")}
    given |= {"DATABASE_PGBOUNCER": pgbouncer.url, "DATABASE_POOL_MAX": "5"}
    with fleet_on(own_stack.state.urls, worker=True, **given) as fleet:
        yield fleet


def get(fleet: Fleet, path: str, instance: int = 0) -> Answer:
    return ask(fleet.webs[instance].url, path)


@pytest.fixture(scope="module")
def user_headers(fleet: Fleet) -> dict[str, str]:
    """Return the headers of a signed-in user."""
    url, credentials = fleet.webs[0].url, {"email": "owner@example.com", "password": FLEET_PASSWORD}
    assert ask(url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
    access = ask(url, "/api/v1/auth/login", method="POST", body=credentials).json()["access"]
    return {"Authorization": f"Bearer {access}"}


def serves_again(fleet: Fleet, seconds: float) -> None:
    """Wait until both instances respond from PostgreSQL."""
    wait_until(
        lambda: {get(fleet, NOW, instance).status for instance in (0, 1)} == {200}, seconds=seconds, what="its return"
    )


class Watch:
    """The highest number of the web processes' connections to PostgreSQL, and of PgBouncer's clients."""

    def __init__(self, own_stack: Stack, pgbouncer: PgBouncer) -> None:
        self.servers = self.clients = 0
        self._own, self._pgbouncer = own_stack, pgbouncer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _look(self) -> None:
        web = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shipshape-web'"
        with psycopg.connect(self._own.state.urls["DATABASE_URL"], autocommit=True) as connection:
            while not self._stop.wait(0.02):
                row = connection.execute(web).fetchone()
                self.servers = max(self.servers, row[0] if row else 0)
                self.clients = max(self.clients, self._pgbouncer.clients())


def test_more_clients_than_connections(
    fleet: Fleet, own_stack: Stack, pgbouncer: PgBouncer, user_headers: dict[str, str]
) -> None:
    def use(number: int) -> list[int]:
        """Write a note, change it, read it and a list, and request /readyz."""
        url, title = fleet.webs[number % 2].url, f"Note {number} {secrets.token_hex(4)}"
        written = ask(url, NOTES, method="POST", body={"title": title, "body": "<p>x</p>"}, headers=user_headers)
        assert written.status == 201, written
        path = written.headers["location"]
        changed = ask(url, path, method="PATCH", body={"title": f"{title}!"}, headers=user_headers)
        shown = ask(url, path, headers=user_headers)
        assert shown.json()["title"] == f"{title}!"
        listed = ask(url, f"{NOTES}?limit=5", headers=user_headers)
        answers = (written, changed, shown, listed, get(fleet, "/readyz", number % 2))
        return [answer.status for answer in answers]

    # 8 clients for pools of 5 and 5: they queue at PgBouncer, not for a connection of the pool.
    with Watch(own_stack, pgbouncer) as watch, ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(use, range(120)))
    assert [status for status in statuses if status != [201, 200, 200, 200, 200]] == []
    assert watch.servers == SERVERS
    assert watch.clients > SERVERS
    assert pgbouncer.left_behind() == []
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM sample_note WHERE title LIKE 'Note %!'").fetchone()
    assert row == (120,)


def test_idempotency_keys_through_it(
    fleet: Fleet, own_stack: Stack, pgbouncer: PgBouncer, user_headers: dict[str, str]
) -> None:
    headers = {**user_headers, "Idempotency-Key": secrets.token_hex(8)}

    def write(number: int) -> Answer:
        return ask(fleet.webs[number % 2].url, NOTES, method="POST", body={"title": "Once"}, headers=headers)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(write, range(40)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status == 201}) == 1
    assert pgbouncer.left_behind() == []
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM sample_note WHERE title = 'Once'").fetchone() == (1,)


def test_jobs_do_not_use_it(fleet: Fleet, own_stack: Stack, user_headers: dict[str, str]) -> None:
    url = fleet.webs[0].url
    sent = ask(url, f"{NOTES}/counts", method="POST", body={"seconds": 1}, headers=user_headers)
    assert sent.status == 202
    job = f"/api/v1/jobs/{sent.json()['id']}"
    wait_until(
        lambda: ask(url, job, headers=user_headers).json()["state"] == "succeeded",
        seconds=30,
        what="the job to be done",
    )
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        ports = {
            name: {port for (port,) in connection.execute(PORTS, [name])}
            for name in ("shipshape-web", "shipshape-worker")
        }
    assert ports["shipshape-worker"]
    mine = {link.laddr.port for process in family_of(fleet.worker) for link in process.net_connections("tcp4")}
    assert ports["shipshape-worker"] <= mine


PORTS = "SELECT client_port FROM pg_stat_activity WHERE application_name = %s"


def family_of(service: Any) -> list[psutil.Process]:
    process = psutil.Process(service.pid)
    return [process, *process.children(recursive=True)]


def test_a_replica_is_read_directly(fleet: Fleet, own_stack: Stack, user_headers: dict[str, str]) -> None:
    note = {"title": "Both ways", "body": "<p>x</p>"}
    with standby_running(own_stack) as standby:
        port = port_free()
        environment = {**fleet.webs[0].environment, "DATABASE_REPLICA_URL": standby.url, "PORT": str(port)}
        web = Service(name="web-3", folder=fleet.folder, environment=environment, port=port)
        try:
            web.start()
            wait_until(
                lambda: ask(web.url, "/readyz").json()["checks"]["replica"] == "ok", seconds=20, what="the replica"
            )
            assert ask(web.url, NOTES, method="POST", body=note, headers=user_headers).status == 201
            listed = ask(web.url, f"{NOTES}?limit=1", headers=user_headers)
            assert listed.json()["results"][0]["title"] == "Both ways"
        finally:
            web.stop()


def test_statement_timeout_is_504(fleet: Fleet, own_stack: Stack) -> None:
    answer = get(fleet, f"{NOTES}/slow?seconds=25")
    assert_problem(answer, 504, "timed-out")
    assert answer.headers["retry-after"]
    assert 4.5 < answer.seconds < 12
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        assert connection.execute(asleep).fetchone() == (0,)
    assert get(fleet, NOW).status == 200


def test_queueing_too_long_is_503(fleet: Fleet, own_stack: Stack) -> None:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with (
        ThreadPoolExecutor(SERVERS) as threads,
        psycopg.connect(own_stack.state.urls["DATABASE_URL"], autocommit=True) as connection,
    ):
        holders = [threads.submit(get, fleet, f"{NOTES}/slow?seconds=4", 1) for _ in range(SERVERS)]
        wait_until(lambda: connection.execute(asleep).fetchone() == (SERVERS,), seconds=3, what="both to be held")
        refused = get(fleet, NOW)
    assert_problem(refused, 503, "unavailable")
    assert refused.headers["retry-after"]
    assert [holder.result().status for holder in holders] == [200] * SERVERS
    serves_again(fleet, 10)


@contextlib.contextmanager
def without_pgbouncer(own_stack: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    pgbouncer.stop()
    try:
        yield
    finally:
        pgbouncer.start()


def without_postgresql(own_stack: Stack, pgbouncer: PgBouncer) -> contextlib.AbstractContextManager[None]:
    return postgresql_stopped(own_stack)


def with_postgresql_frozen(own_stack: Stack, pgbouncer: PgBouncer) -> contextlib.AbstractContextManager[None]:
    return postgresql_paused(own_stack)


@contextlib.contextmanager
def with_pgbouncer_frozen(own_stack: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    assert pgbouncer.process is not None
    with frozen(pgbouncer.process.pid):
        yield


@pytest.mark.parametrize(
    "fault", [without_pgbouncer, without_postgresql, with_postgresql_frozen, with_pgbouncer_frozen]
)
def test_outages_are_503_until_the_return(
    fleet: Fleet, own_stack: Stack, pgbouncer: PgBouncer, user_headers: dict[str, str], fault: Callable[..., Any]
) -> None:
    serves_again(fleet, 20)
    note = {"title": "Never", "body": "<p>x</p>"}
    url = fleet.webs[0].url
    with fault(own_stack, pgbouncer):
        with ThreadPoolExecutor(8) as threads:
            first = list(threads.map(lambda _: get(fleet, NOW), range(8)))
        for answer in (*first, ask(url, NOTES, method="POST", body=note, headers=user_headers)):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
            assert answer.seconds < 9
        later = [get(fleet, NOW) for _ in range(20)]
        assert {answer.status for answer in later} == {503}
        assert sorted(answer.seconds for answer in later)[10] < 1
        reasons = [line["reason"] for line in fleet.webs[0].lines() if line.get("event") == "dependency_unavailable"]
        assert sum("CircuitOpen" in reason for reason in reasons[-20:]) > 10, "most are refused without asking anybody"
        assert get(fleet, "/healthz").status == 200
        ready = get(fleet, "/readyz")
        assert (ready.status, ready.json()["checks"]["database"]) == (200, "down")
    returned_at = time.monotonic()
    serves_again(fleet, 10)
    assert time.monotonic() - returned_at < 8
    assert ask(url, NOTES, method="POST", body=note, headers=user_headers).status == 201


@pytest.mark.parametrize("name", ["postgresql", "pgbouncer"])
def test_the_second_request_after_a_restart_succeeds(
    fleet: Fleet, own_stack: Stack, pgbouncer: PgBouncer, name: str
) -> None:
    serves_again(fleet, 20)
    if name == "postgresql":
        own_stack.restart(name)
    else:
        pgbouncer.stop()
        pgbouncer.start()
    assert get(fleet, NOW).status in (200, 503)
    serves_again(fleet, 10)
