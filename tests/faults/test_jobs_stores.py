"""Redis or PostgreSQL goes away among many jobs: whatever was answered 202 is done, once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psutil
import psycopg
import pytest
import redis

from apps.operations.fleet import Fleet, database_migrate, production_environment
from apps.operations.stack import Stack
from tests.faults.submitters import COUNTS, WIDE, Ledger, Owner

MANY = 200
LEASE = 4  # tests.faults.settings


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Servers that nobody else uses; what is committed is kept, which a throw-away server does not promise."""
    with Stack.temporary() as stack:
        with psycopg.connect(stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("ALTER ROLE ALL SET synchronous_commit = on")
        yield stack


@pytest.fixture(scope="module")
def fleet(own: Stack) -> Iterator[Fleet]:
    environment = production_environment(
        database_url=own.state.urls["DATABASE_URL"],
        redis_url=own.state.urls["REDIS_URL"],
        settings_module="tests.faults.settings",
        **WIDE,
    )
    database_migrate(environment=environment)
    with Fleet(environment=environment, instances=1, worker=True, edge=False) as fleet:
        yield fleet


@contextlib.contextmanager
def redis_stopped(own: Stack) -> Iterator[None]:
    own.services["redis"].stop()
    try:
        yield
    finally:
        own.services["redis"].start()


@contextlib.contextmanager
def redis_paused(own: Stack) -> Iterator[None]:
    pid = own.services["redis"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def redis_flushed(own: Stack) -> Iterator[None]:
    """Emptied again and again."""
    over = threading.Event()

    def flush() -> None:
        with redis.Redis.from_url(own.state.urls["REDIS_URL"]) as server:
            while not over.wait(0.2):
                server.flushall()

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@contextlib.contextmanager
def redis_full(own: Stack) -> Iterator[None]:
    with redis.Redis.from_url(own.state.urls["REDIS_URL"]) as server:
        server.config_set("maxmemory-policy", "noeviction")
        server.config_set("maxmemory", 1)
        try:
            yield
        finally:
            server.config_set("maxmemory", 0)


@pytest.mark.parametrize("fault", [redis_stopped, redis_paused, redis_flushed, redis_full])
def test_without_redis_all_is_accepted_and_done_once(
    own: Stack, fleet: Fleet, soak: bool, fault: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    owner, ledger = Owner(fleet), Ledger(fleet)
    for _ in range(5 if soak else 1):
        before = owner.submit_many(5, 0.1)
        with fault(own):
            started = time.monotonic()
            accepted = owner.submit_many(MANY, 0)
            spent = time.monotonic() - started
        assert spent < MANY * 0.25, "each of eight at a time within 2 s, however busy the machine is"
        ledger.done_once([*before, *accepted])


class Submissions(threading.Thread):
    """Submits without a pause, and writes down the ids that were answered 202; anything else but 503 is a mistake."""

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self.accepted: list[str] = []
        self.others: list[int] = []
        self._owner = owner
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            answer = self._owner.ask(COUNTS, method="POST", body={"seconds": 0.05})
            if answer.status == 202:
                self.accepted.append(str(answer.json()["id"]))
            else:
                self.others.append(answer.status)
                time.sleep(0.2)

    def __enter__(self) -> Submissions:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)


@contextlib.contextmanager
def postgresql_restarted(own: Stack) -> Iterator[None]:
    own.restart("postgresql")
    yield


@contextlib.contextmanager
def postgresql_paused(own: Stack) -> Iterator[None]:
    """Frozen for longer than a lease, backends and all."""
    server = psutil.Process(own.services["postgresql"].pid)
    frozen = [server, *server.children(recursive=True)]
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(LEASE + 3)
        yield
    finally:
        for process in reversed(frozen):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("fault", [postgresql_restarted, postgresql_paused])
def test_postgresql_away_under_load_loses_nothing_and_does_nothing_twice(
    own: Stack, fleet: Fleet, soak: bool, fault: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    owner, ledger = Owner(fleet), Ledger(fleet)
    for _ in range(5 if soak else 1):
        long = [owner.submit(9)]
        with Submissions(owner) as submissions:
            time.sleep(1.5)
            with fault(own):
                pass
            time.sleep(2)
        assert len(submissions.accepted) > 5
        assert set(submissions.others) <= {503}
        ledger.done_once([*long, *submissions.accepted], seconds=60)
        assert ledger.claims(long[0]) == 1, "its worker lived, so nobody may have taken it away"
