"""database (130), through a PgBouncer in transaction mode: a real one, with fewer connections to PostgreSQL than clients."""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, OperationalError, connections, transaction
from django.test import override_settings
from psycopg import sql

from apps.operations.fleet import Fleet, database_migrate, production_environment
from apps.operations.stack import Stack
from apps.practices.database.backend.base import DatabaseWrapper
from apps.practices.database.connections import breaker_of, connection_class
from apps.practices.database.failures import problem_for
from settings.components.database import _database
from tests.fleet import Answer, ask, path_replaced
from tests.pgbouncer import SERVERS, PgBouncer, pgbouncer_running
from tests.problems import assert_problem
from tests.processes import wait_until

NOW = "/api/v1/sample/notes/slow?seconds=0"  # the shortest request that needs PostgreSQL
BOUNDS = {"statement_timeout": "300ms", "lock_timeout": "200ms", "idle_in_transaction_session_timeout": "400ms"}
LEFT_BEHIND = """
    SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'TimeZone')
    UNION ALL SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors
    UNION ALL SELECT relname FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()
    UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT 'role ' || current_user WHERE current_user <> session_user
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Servers that nobody else uses, to be stopped and frozen."""
    with Stack.temporary() as stack:
        yield stack


@pytest.fixture(scope="module")
def pgbouncer(pgbouncer_binary: str, own: Stack) -> Iterator[PgBouncer]:
    with pgbouncer_running(binary=pgbouncer_binary, stack=own) as running:
        yield running


def left_behind(pgbouncer: PgBouncer) -> list[str]:
    """Give what earlier clients have left in the sessions that PgBouncer keeps; the latter are told apart by holding all."""
    found: dict[int, list[str]] = {}
    with contextlib.ExitStack() as held:
        for _ in range(SERVERS):
            client = held.enter_context(pgbouncer.connect())
            held.enter_context(client.transaction())
            names = [name for (name,) in client.execute(LEFT_BEHIND).fetchall()]
            ((pid,),) = client.execute("SELECT pg_backend_pid()").fetchall()
            found[pid] = names
    assert len(found) == SERVERS
    return [name for names in found.values() for name in names]


# --- one connection


@pytest.fixture
def wrapper(db: None, pgbouncer: PgBouncer) -> Iterator[DatabaseWrapper]:
    """What a thread of a web process has, with bounds that a test can wait for, as `connections["bounced"]`.

    Under that name it is waited for as briefly as any server but the main one (`is_spared`).
    """
    settings_dict = {**connections["default"].settings_dict, **_database(pgbouncer.url, is_pgbouncer=True)}
    settings_dict["TRANSACTION_BOUNDS"] = BOUNDS
    settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 8, "timeout": 1}
    made = connections["bounced"] = DatabaseWrapper(settings_dict, alias="bounced")
    breaker_of("bounced").reset()
    yield made
    made.close()
    made.close_pool()
    breaker_of("bounced").reset()
    del connections["bounced"]


def executed(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(statement)


def in_a_transaction(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("bounced"), wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute(statement)


def behind_a_savepoint_undone(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("bounced"):
        with contextlib.suppress(ZeroDivisionError), transaction.atomic("bounced"):
            raise ZeroDivisionError
        executed(wrapper, statement)


def composed(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(sql.SQL("{}").format(sql.SQL(statement)))


def as_bytes(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(statement.encode())


def as_many(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.executemany(f"{statement} WHERE %s", [(True,), (True,)])


def as_many_in_a_transaction(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("bounced"):
        as_many(wrapper, statement)


def as_a_copy(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor, cursor.copy(f"COPY ({statement}) TO STDOUT") as copy:
        list(copy)


WAYS = [
    executed,
    in_a_transaction,
    behind_a_savepoint_undone,
    composed,
    as_bytes,
    as_many,
    as_many_in_a_transaction,
    as_a_copy,
]


@pytest.mark.parametrize("way", WAYS)
def test_no_statement_is_without_bound(
    wrapper: DatabaseWrapper, pgbouncer: PgBouncer, way: Callable[[DatabaseWrapper, str], None]
) -> None:
    started = time.monotonic()
    with pytest.raises((OperationalError, psycopg.OperationalError)) as raised:
        way(wrapper, "SELECT pg_sleep(6)")
    assert time.monotonic() - started < 5
    problem = problem_for(raised.value)
    assert problem is not None
    assert problem.status == 504, "the server ended it, not the client"
    wrapper.close()
    assert left_behind(pgbouncer) == []
    assert not breaker_of("bounced").is_suspicious


def test_no_lock_is_waited_for_without_bound(wrapper: DatabaseWrapper, own: Stack) -> None:
    with psycopg.connect(own.state.urls["DATABASE_URL"]) as rival:
        rival.execute("SELECT pg_advisory_xact_lock(7)")
        with pytest.raises(OperationalError) as raised:
            executed(wrapper, "SELECT pg_advisory_xact_lock(7)")
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (503, 1)
    assert "same data" in str(problem.detail)


def test_a_transaction_that_lies_idle_is_ended(wrapper: DatabaseWrapper) -> None:
    def idle() -> None:
        with transaction.atomic("bounced"):
            executed(wrapper, "SELECT 1")
            time.sleep(1.5)
            executed(wrapper, "SELECT 1")

    with pytest.raises(DatabaseError) as raised:
        idle()
    problem = problem_for(raised.value)
    assert problem is not None
    assert problem.status == 503


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "goes on"])
def test_results_are_those_of_the_statement(wrapper: DatabaseWrapper, begins: bool) -> None:
    with contextlib.nullcontext() if begins else transaction.atomic("bounced"), wrapper.cursor() as cursor:
        if not begins:
            cursor.execute("SELECT 1")
        cursor.execute("SELECT n, '100%%' AS share FROM generate_series(1, %s) AS n", [3])
        assert [column.name for column in cursor.description] == ["n", "share"]
        assert (cursor.rowcount, cursor.fetchall()) == (3, [(1, "100%"), (2, "100%"), (3, "100%")])
        assert not cursor.nextset()
        cursor.execute("SELECT '100%'")
        assert cursor.fetchone() == ("100%",)
        cursor.execute("SELECT 1; SELECT 2")
        assert cursor.fetchone() == (1,)
        assert cursor.nextset()
        assert cursor.fetchone() == (2,)


def test_rows_written_are_kept_and_those_rolled_back_are_not(wrapper: DatabaseWrapper, own: Stack) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n int)")
        cursor.execute("INSERT INTO kept SELECT generate_series(1, 3)")
        assert cursor.rowcount == 3
        cursor.executemany("INSERT INTO kept VALUES (%s)", [(4,), (5,)])
        with cursor.copy("COPY kept FROM STDIN") as copy:
            copy.write_row((6,))
        with contextlib.suppress(ZeroDivisionError), transaction.atomic("bounced"):
            cursor.execute("INSERT INTO kept VALUES (7)")
            cursor.executemany("INSERT INTO kept VALUES (%s)", [(8,)])
            raise ZeroDivisionError
        with transaction.atomic("bounced"):
            with contextlib.suppress(DatabaseError), transaction.atomic("bounced"):
                cursor.execute("INSERT INTO kept SELECT 1 / 0")
            cursor.execute("INSERT INTO kept VALUES (9)")
    with psycopg.connect(own.state.urls["DATABASE_URL"]) as direct:
        assert [n for (n,) in direct.execute("SELECT n FROM kept ORDER BY n")] == [1, 2, 3, 4, 5, 6, 9]


def test_each_client_has_its_own_time_zone(wrapper: DatabaseWrapper, pgbouncer: PgBouncer) -> None:
    """The one thing that Django sets for a session; PgBouncer knows it, and sets it again for whoever comes."""
    with contextlib.ExitStack() as held:
        others = [held.enter_context(pgbouncer.connect()) for _ in range(SERVERS * 2)]
        for number, other in enumerate(others):
            other.execute(f"SET TimeZone = 'Etc/GMT{number:+d}'")
        for _ in range(3):
            assert [one.execute("SHOW TimeZone").fetchone() for one in others] == [
                (f"Etc/GMT{number:+d}",) for number in range(len(others))
            ]
            with wrapper.cursor() as cursor:
                cursor.execute("SHOW TimeZone")
                assert cursor.fetchone() == ("UTC",)


@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=1)
def test_a_queue_for_connections_does_not_look_like_an_outage(wrapper: DatabaseWrapper, own: Stack) -> None:
    """All who wait reach their bound at the same moment; that another was answered meanwhile tells where they stood."""
    everybody = threading.Barrier(SERVERS + 1, timeout=20)
    wrapper.ensure_connection()

    def inside() -> None:
        with wrapper.pool.connection() as connection, connection.transaction():
            connection.execute("SELECT 1")
            everybody.wait()
            everybody.wait()
            connection.execute("SELECT 1")
            everybody.wait()

    def outside() -> int:
        mine = DatabaseWrapper(wrapper.settings_dict, alias="bounced")
        with pytest.raises(OperationalError) as raised:
            executed(mine, "SELECT 1")
        problem = problem_for(raised.value)
        mine.close()
        return problem.status if problem else 0

    with ThreadPoolExecutor(SERVERS + 3) as threads:
        for _ in range(SERVERS):
            threads.submit(inside)
        everybody.wait()
        waiting = [threads.submit(outside) for _ in range(3)]
        time.sleep(0.5)
        everybody.wait()
        statuses = [one.result() for one in waiting]
        suspicious = breaker_of("bounced").is_suspicious
        everybody.wait()
    assert statuses == [503] * 3
    assert not suspicious


@pytest.fixture
def bounced(wrapper: DatabaseWrapper, pgbouncer: PgBouncer) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the pool's class, made while PostgreSQL is under suspicion."""
    breaker_of("bounced").failed(OSError())
    with connection_class("bounced", is_pgbouncer=True).connect(pgbouncer.url, autocommit=True) as connection:
        yield connection


def test_that_pgbouncer_lets_somebody_in_says_nothing_of_postgresql(bounced: psycopg.Connection[Any]) -> None:
    assert breaker_of("bounced").is_suspicious
    bounced.execute("SELECT 1")
    assert not breaker_of("bounced").is_suspicious


def test_an_error_of_postgresql_is_an_answer(bounced: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        bounced.execute("SELECT 1 / 0")
    assert not breaker_of("bounced").is_suspicious


@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=10)
def test_an_error_of_pgbouncer_is_none(bounced: psycopg.Connection[Any], pgbouncer: PgBouncer) -> None:
    bounced.execute("SELECT 1")
    with contextlib.ExitStack() as held:
        for _ in range(SERVERS):
            other = held.enter_context(pgbouncer.connect())
            held.enter_context(other.transaction())
            other.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            bounced.execute("SELECT 1")
    assert breaker_of("bounced").is_suspicious


def test_mistakes_on_this_side_say_nothing_of_the_server(wrapper: DatabaseWrapper) -> None:
    for _ in range(3):
        with pytest.raises(DatabaseError), wrapper.cursor() as cursor:
            cursor.execute("SELECT %s, %s", ["one"])
    assert not breaker_of("bounced").is_suspicious


# --- the service


@pytest.fixture(scope="module")
def fleet(own: Stack, pgbouncer: PgBouncer) -> Iterator[Fleet]:
    """Two instances with five connections each to PgBouncer, and a worker, which has PostgreSQL's own address."""
    urls = own.state.urls
    environment = production_environment(
        database_url=urls["DATABASE_URL"],
        redis_url=path_replaced(urls["REDIS_URL"], "7"),
        settings_module="tests.sample.settings",
        DATABASE_PGBOUNCER=pgbouncer.url,
        DATABASE_POOL_MAX="5",
        **{f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")},
    )
    database_migrate(environment=environment)
    with Fleet(environment=environment, instances=2, worker=True, edge=False) as fleet:
        yield fleet


def get(fleet: Fleet, path: str, instance: int = 0) -> Answer:
    return ask(fleet.webs[instance].url, path)


@pytest.fixture(scope="module")
def somebody(fleet: Fleet) -> dict[str, str]:
    """The headers of a signed-in stranger."""
    url, credentials = fleet.webs[0].url, {"email": "owner@example.com", "password": "lanterns over low water"}
    assert ask(url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
    access = ask(url, "/api/v1/auth/login", method="POST", body=credentials).json()["access"]
    return {"Authorization": f"Bearer {access}"}


def serves_again(fleet: Fleet, seconds: float) -> None:
    """Wait until both instances answer from PostgreSQL."""
    wait_until(
        lambda: {get(fleet, NOW, instance).status for instance in (0, 1)} == {200}, seconds=seconds, what="its return"
    )


class Watch:
    """How many connections to PostgreSQL the web processes have together, at most, and from how many clients."""

    def __init__(self, own: Stack, pgbouncer: PgBouncer) -> None:
        self.servers = self.clients = 0
        self._own, self._pgbouncer = own, pgbouncer
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


def test_more_clients_than_connections_are_served_and_leave_nothing_behind(
    fleet: Fleet, own: Stack, pgbouncer: PgBouncer, somebody: dict[str, str]
) -> None:
    def use(number: int) -> list[int]:
        """Write a note, change it, read it and a list, and look whether the instance is ready."""
        url, title = fleet.webs[number % 2].url, f"Note {number} {secrets.token_hex(4)}"
        written = ask(
            url, "/api/v1/sample/notes", method="POST", body={"title": title, "body": "<p>x</p>"}, headers=somebody
        )
        path = written.headers["location"]
        changed = ask(url, path, method="PATCH", body={"title": f"{title}!"}, headers=somebody)
        shown = ask(url, path, headers=somebody)
        assert shown.json()["title"] == f"{title}!"
        listed = ask(url, "/api/v1/sample/notes?limit=5", headers=somebody)
        answers = (written, changed, shown, listed, get(fleet, "/readyz", number % 2))
        return [answer.status for answer in answers]

    with Watch(own, pgbouncer) as watch, ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(use, range(120)))
    assert [status for status in statuses if status != [201, 200, 200, 200, 200]] == []
    assert watch.servers == SERVERS
    assert watch.clients > SERVERS
    assert left_behind(pgbouncer) == []
    with psycopg.connect(own.state.urls["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM sample_note WHERE title LIKE 'Note %!'").fetchone()
    assert row == (120,)


def test_a_walk_over_many_rows_needs_no_cursor_of_the_server(
    fleet: Fleet, wrapper: DatabaseWrapper, pgbouncer: PgBouncer
) -> None:
    with contextlib.ExitStack() as held:
        for number, _ in enumerate(ContentType.objects.using("bounced").order_by("pk").iterator(chunk_size=1)):
            if number < SERVERS - 1:  # whoever comes next is given another connection than before
                other = held.enter_context(pgbouncer.connect())
                held.enter_context(other.transaction())
                other.execute("SELECT 1")
    assert number > SERVERS
    wrapper.close()
    assert left_behind(pgbouncer) == []


def test_heavy_work_goes_past_it(fleet: Fleet, own: Stack, somebody: dict[str, str]) -> None:
    url = fleet.webs[0].url
    sent = ask(url, "/api/v1/sample/notes/counts", method="POST", body={"seconds": 1}, headers=somebody)
    assert sent.status == 202
    job = f"/api/v1/jobs/{sent.json()['id']}"
    wait_until(
        lambda: ask(url, job, headers=somebody).json()["state"] == "succeeded", seconds=30, what="the job to be done"
    )
    with psycopg.connect(own.state.urls["DATABASE_URL"]) as connection:
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


def test_a_request_without_end_is_ended(fleet: Fleet, own: Stack) -> None:
    answer = get(fleet, "/api/v1/sample/notes/slow?seconds=25")
    assert_problem(answer, 504, "timed-out")
    assert answer.headers["retry-after"]
    assert 4.5 < answer.seconds < 12
    with psycopg.connect(own.state.urls["DATABASE_URL"]) as connection:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        assert connection.execute(asleep).fetchone() == (0,)
    assert get(fleet, NOW).status == 200


def test_whoever_queues_too_long_is_503_and_the_lucky_ones_are_200(fleet: Fleet) -> None:
    with ThreadPoolExecutor(SERVERS) as threads:
        holders = [threads.submit(get, fleet, "/api/v1/sample/notes/slow?seconds=4", 1) for _ in range(SERVERS)]
        time.sleep(1)
        refused = get(fleet, NOW)
    assert_problem(refused, 503, "unavailable")
    assert refused.headers["retry-after"]
    assert [holder.result().status for holder in holders] == [200] * SERVERS
    serves_again(fleet, 10)


@contextlib.contextmanager
def without_pgbouncer(own: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    pgbouncer.stop()
    try:
        yield
    finally:
        pgbouncer.start()


@contextlib.contextmanager
def without_postgresql(own: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    own.services["postgresql"].stop()
    try:
        yield
    finally:
        own.services["postgresql"].start()


@contextlib.contextmanager
def frozen(pid: int | None) -> Iterator[None]:
    """Freeze a process and its children: their kernel goes on accepting and acknowledging."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    for one in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for one in reversed(stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def with_postgresql_frozen(own: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    with frozen(own.services["postgresql"].pid):
        yield


@contextlib.contextmanager
def with_pgbouncer_frozen(own: Stack, pgbouncer: PgBouncer) -> Iterator[None]:
    assert pgbouncer.process is not None
    with frozen(pgbouncer.process.pid):
        yield


@pytest.mark.parametrize(
    "fault", [without_pgbouncer, without_postgresql, with_postgresql_frozen, with_pgbouncer_frozen]
)
def test_whatever_is_away_it_is_503_soon_at_once_and_its_return_is_noticed(
    fleet: Fleet, own: Stack, pgbouncer: PgBouncer, somebody: dict[str, str], fault: Callable[..., Any]
) -> None:
    serves_again(fleet, 20)
    note = {"title": "Never", "body": "<p>x</p>"}
    url = fleet.webs[0].url
    with fault(own, pgbouncer):
        with ThreadPoolExecutor(8) as threads:
            first = list(threads.map(lambda _: get(fleet, NOW), range(8)))
        for answer in (*first, ask(url, "/api/v1/sample/notes", method="POST", body=note, headers=somebody)):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
            assert answer.seconds < 9
        later = [get(fleet, NOW) for _ in range(20)]
        assert {answer.status for answer in later} == {503}
        assert sorted(answer.seconds for answer in later)[10] < 1, "most are refused without a wait"
        assert get(fleet, "/healthz").status == 200
        ready = get(fleet, "/readyz")
        assert (ready.status, ready.json()["checks"]["database"]) == (200, "down")
    returned_at = time.monotonic()
    serves_again(fleet, 10)
    assert time.monotonic() - returned_at < 8
    assert ask(url, "/api/v1/sample/notes", method="POST", body=note, headers=somebody).status == 201


@pytest.mark.parametrize("name", ["postgresql", "pgbouncer"])
def test_a_restart_is_forgotten_by_the_second_request(
    fleet: Fleet, own: Stack, pgbouncer: PgBouncer, name: str
) -> None:
    serves_again(fleet, 20)
    if name == "postgresql":
        own.restart(name)
    else:
        pgbouncer.stop()
        pgbouncer.start()
    assert get(fleet, NOW).status in (200, 503)
    serves_again(fleet, 5)
