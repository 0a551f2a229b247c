"""Idempotency-Key on two instances: one effect, with concurrent requests, lost responses and killed processes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from tests.clients import bearer, problem, registered, signed_in
from tests.faults.submitters import WIDE
from tests.fleet import Answer, ask, fleet_running
from tests.processes import wait_until
from tests.rounds import Rounds
from tools.fleet import Fleet, Service
from tools.stack import Stack

NOTES = "/api/v1/sample/notes"
COUNTS = f"{NOTES}/counts"
KEYS = 4  # one after another, each used twenty times at once
AT_NOTES = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sample_note'::regclass"


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    many = {"WEB_THREADS": "16", "DATABASE_POOL_MAX": "12"}
    with fleet_running(stack, edge=False, instances=2, **many, **WIDE) as fleet:
        # A request that waits a second for the growing pool gets 503, so let the pool grow first.
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda number: ask(fleet.webs[number % 2].url, f"{NOTES}/slow?seconds=1"), range(20)))
        yield fleet


@pytest.fixture(scope="module")
def headers(fleet: Fleet) -> dict[str, str]:
    return bearer(signed_in(fleet.webs[0].url, registered(fleet.webs[0].url)))


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def note(web: Service, headers: dict[str, str], title: str) -> Answer:
    return ask(web.url, NOTES, method="POST", body={"title": title}, headers=headers)


def stored(fleet: Fleet, title: str) -> list[Any]:
    with database(fleet) as connection:
        return connection.execute("SELECT id FROM sample_note WHERE title = %s", [title]).fetchall()


@contextmanager
def database(fleet: Fleet) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@contextmanager
def notes_locked(fleet: Fleet) -> Iterator[psycopg.Connection[Any]]:
    """Lock the table of notes, so that a request blocks between its key and its effect."""
    with database(fleet) as connection, connection.transaction():
        connection.execute("LOCK TABLE sample_note IN EXCLUSIVE MODE")
        yield connection


def asked_until_done(web: Service, headers: dict[str, str], title: str) -> Answer:
    """Send the request again after each 409 and 503, as a client does."""
    answers: list[Answer] = []

    def is_done() -> bool:
        answers.append(note(web, headers, title))
        assert answers[-1].status in (201, 409, 503), answers[-1]
        return answers[-1].status == 201

    wait_until(is_done, seconds=30, what="the repeated request to succeed")
    return answers[-1]


def assert_same(one: Answer, other: Answer) -> None:
    assert (one.status, one.content) == (other.status, other.content)
    for name in ("location", "etag", "content-type", "retry-after"):
        assert one.headers.get(name) == other.headers.get(name), name


def test_twenty_at_once_submit_one_job(fleet: Fleet, headers: dict[str, str], rounds: Rounds) -> None:
    for _ in rounds:
        answers = [answer for _ in range(KEYS) for answer in twenty_at_once(fleet, headers)]
        done = [answer.status for answer in answers].count(202)
        slowest = max(answer.seconds for answer in answers)
        rounds.tell(keys=KEYS, jobs=KEYS, accepted=done, in_use=len(answers) - done, slowest=slowest)


def twenty_at_once(fleet: Fleet, headers: dict[str, str]) -> list[Answer]:
    """Submit a job twenty times at once under one key, then send refused requests again: one job, one response."""
    mine = {**headers, "Idempotency-Key": str(uuid4())}

    def submit(number: int) -> Answer:
        return ask(fleet.webs[number % 2].url, COUNTS, method="POST", body={"seconds": 0}, headers=mine)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(submit, range(20)))
    done = [answer for answer in answers if answer.status == 202]
    assert len([answer for answer in done if "idempotency-replayed" not in answer.headers]) == 1
    for number, answer in enumerate(answers):
        if answer.status != 202:
            assert (answer.status, problem(answer)) == (409, "idempotency-key-in-use"), answer
            assert int(answer.headers["retry-after"]) >= 1
        assert_same(submit(number), done[0])
    with database(fleet) as connection:
        found = connection.execute(
            "SELECT count(*) FROM jobs_job WHERE id = %s OR request_id = ANY(%s)",
            [done[0].json()["id"], [answer.headers["x-request-id"] for answer in answers]],
        ).fetchone()
    assert found == (1,)
    return answers


def test_kill_between_key_and_effect_undoes_both(fleet: Fleet, headers: dict[str, str], rounds: Rounds) -> None:
    for number in rounds:
        mine, title = {**headers, "Idempotency-Key": str(uuid4())}, f"killed {number}"
        try:
            with notes_locked(fleet) as connection, ThreadPoolExecutor(2) as threads:
                first = threads.submit(note, fleet.webs[0], mine, title)
                wait_until(
                    lambda connection=connection: connection.execute(AT_NOTES).fetchone() == (1,),
                    seconds=10,
                    what="the request to block at its effect",
                )
                other = threads.submit(note, fleet.webs[1], mine, title)
                fleet.webs[0].kill()
                with pytest.raises((ConnectionError, http.client.HTTPException)):
                    first.result(30)
                # The killed request's transaction ends at its lock_timeout. Until then the other one waits or is refused.
                assert other.result(30).status in (409, 503)
            done = asked_until_done(fleet.webs[1], mine, title)
            assert len(stored(fleet, title)) == 1
        finally:
            all_started_without_edge(fleet)
        assert_same(note(fleet.webs[0], mine, title), done)
        assert len(stored(fleet, title)) == 1
        rounds.tell(effects=1)


def test_lost_response_is_sent_again(fleet: Fleet, headers: dict[str, str], key: dict[str, str]) -> None:
    mine = {**headers, **key}
    parts = urlsplit(fleet.webs[0].url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    sent = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", **mine}
    connection.request("POST", NOTES, json.dumps({"title": "lost"}), {**sent, "Content-Type": "application/json"})
    wait_until(lambda: stored(fleet, "lost"), seconds=10, what="the effect")
    connection.close()
    answer = note(fleet.webs[1], mine, "lost")
    assert (answer.status, answer.headers["idempotency-replayed"]) == (201, "true")
    assert [str(row[0]) for row in stored(fleet, "lost")] == [answer.json()["id"]]


def all_started_without_edge(fleet: Fleet) -> None:
    for web in fleet.webs:
        if not web.is_running:
            web.start()
