"""database, with a streaming replica."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session as BrowserSession
from django.db import transaction
from django.db.utils import ConnectionDoesNotExist
from django.http import HttpRequest

from apps.accounts.models import Session, User
from apps.jobs.models import Job
from apps.practices.caching import remember
from apps.practices.database.replicas import ReplicaPermit, current_permit, primary_reads
from apps.practices.database.routing import ReplicaRouter
from tests.fleet import Answer, ask, fleet_on
from tests.processes import frozen, wait_until
from tests.sample.models import Note
from tests.secrets import FLEET_PASSWORD
from tests.standby import Standby, standby_running
from tools.fleet import Fleet
from tools.stack import Stack

NOTES = "/api/v1/sample/notes?limit=1"


@pytest.fixture(scope="module")
def standby(own_stack: Stack) -> Iterator[Standby]:
    with standby_running(own_stack) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(own_stack: Stack, standby: Standby) -> Iterator[Fleet]:
    """Return two instances that read from the replica."""
    with fleet_on(own_stack.state.urls, DATABASE_REPLICA_URL=standby.url) as fleet:
        yield fleet


class Person:
    """A signed-in user."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        credentials = {"email": f"{secrets.token_hex(4)}@example.com", "password": FLEET_PASSWORD}
        assert self.ask(0, "/api/v1/auth/register", method="POST", body=credentials).status == 201
        signed_in = self.ask(0, "/api/v1/auth/login", method="POST", body=credentials).json()
        self.headers = {"Authorization": f"Bearer {signed_in['access']}"}

    def ask(self, instance: int, path: str, **options: Any) -> Answer:
        return ask(self.fleet.webs[instance].url, path, headers=getattr(self, "headers", {}), **options)

    def write(self, title: str) -> Answer:
        body = {"title": title, "body": "<p>x</p>", "published": True}
        answer = self.ask(0, "/api/v1/sample/notes", method="POST", body=body)
        assert answer.status == 201
        return answer

    def newest(self, instance: int = 0) -> str | None:
        answer = self.ask(instance, NOTES)
        assert answer.status == 200, answer
        results = answer.json()["results"]
        return results[0]["title"] if results else None


@pytest.fixture
def paused_replica(fleet: Fleet, standby: Standby) -> Iterator[tuple[Person, Person]]:
    """Pause the replica at a state that still counts as fresh for some seconds.

    Return a user who writes and one who reads, signed in before.
    """
    writer, reader = Person(fleet), Person(fleet)
    Person(fleet).write("before")
    wait_until(
        lambda: all(reader.newest(instance) == "before" and _is_ok(fleet, instance) for instance in (0, 1)),
        seconds=20,
        what="the replica",
    )
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        yield writer, reader
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")


def _is_ok(fleet: Fleet, instance: int) -> bool:
    return ask(fleet.webs[instance].url, "/readyz").json()["checks"]["replica"] == "ok"


def test_users_read_their_own_writes(
    paused_replica: tuple[Person, Person],
) -> None:
    writer, reader = paused_replica
    writer.write("after")
    assert [writer.newest(instance) for instance in (0, 1)] == ["after", "after"]
    assert {reader.newest(instance) for instance in (0, 1)} == {"before"}, "the reads do not come from the replica"


def test_replayed_answers_pin_to_the_primary(fleet: Fleet, paused_replica: tuple[Person, Person]) -> None:
    writer, _ = paused_replica
    writer.headers["Idempotency-Key"] = secrets.token_hex(8)
    first = writer.write("after")
    with redis.Redis.from_url(fleet.webs[0].environment["REDIS_URL"]) as store:
        assert store.delete(*store.scan_iter("*:wrote:*"))
    assert writer.newest() == "before", "the first write is still remembered"
    again = writer.write("after")
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert [writer.newest(instance) for instance in (0, 1)] == ["after", "after"]


def test_a_lagging_replica_is_not_read(fleet: Fleet, paused_replica: tuple[Person, Person]) -> None:
    _, reader = paused_replica
    Person(fleet).write("late")
    wait_until(
        lambda: [reader.newest(i) for i in (0, 1)] == ["late", "late"], seconds=20, what="reads from the primary"
    )
    assert ask(fleet.webs[0].url, "/readyz").status == 200


@contextlib.contextmanager
def stopped(standby: Standby) -> Iterator[None]:
    standby.stop()
    try:
        yield
    finally:
        standby.start()


@contextlib.contextmanager
def paused(standby: Standby) -> Iterator[None]:
    """Freeze it. Its kernel still accepts and acknowledges packets."""
    assert standby.process is not None
    with frozen(standby.process.pid):
        yield


@pytest.mark.parametrize("fault", [stopped, paused])
def test_without_a_replica_the_primary_answers(
    fleet: Fleet, standby: Standby, fault: Callable[[Standby], contextlib.AbstractContextManager[None]]
) -> None:
    reader = Person(fleet)
    Person(fleet).write("kept")
    # Each has just seen the replica well: the first to ask then meets the fault itself.
    wait_until(lambda: _is_ok(fleet, 0) and _is_ok(fleet, 1), seconds=20, what="the replica")
    with fault(standby):
        answers = [reader.ask(number % 2, NOTES) for number in range(12)]
        assert {answer.status for answer in answers} == {200}
        assert answers[-1].json()["results"][0]["title"] == "kept"
        assert max(answer.seconds for answer in answers) < 5, "they waited as long as for a primary"
        assert sum(answer.seconds > 0.9 for answer in answers) < 6, "every probe delays a request by a second"
        ready = ask(fleet.webs[0].url, "/readyz")
        assert (ready.status, ready.json()["checks"]["replica"]) == (200, "down")
    wait_until(lambda: _is_ok(fleet, 0), seconds=20, what="the replica's return")


# --- reads that never come from the replica (this process has none, so reading from it is an error)


@pytest.fixture
def holder() -> Iterator[None]:
    """Permit this test to read from the replica."""
    held = current_permit.set(ReplicaPermit(HttpRequest(), is_allowed=True))
    yield
    current_permit.reset(held)


@pytest.mark.django_db(transaction=True)
def test_permissions_come_from_the_primary(holder: None) -> None:
    router = ReplicaRouter()
    with pytest.raises(ConnectionDoesNotExist):
        router.db_for_read(Note)
    assert {router.db_for_read(model) for model in (User, Session, Job, Permission, BrowserSession)} == {"default"}
    with primary_reads():
        assert router.db_for_read(Note) == "default"
    with transaction.atomic():
        assert router.db_for_read(Note) == "default"
    assert router.db_for_write(Note) == "default"
    assert not router.allow_migrate("replica", "sample")


@pytest.mark.django_db(transaction=True)
def test_cached_data_comes_from_the_primary(holder: None) -> None:
    router = ReplicaRouter()
    assert remember(secrets.token_hex(8), build=lambda: router.db_for_read(Note)) == "default"
