"""Concurrent requests under one Idempotency-Key: one takes effect, the others wait or get 409."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import IdempotencyKey, Job
from apps.jobs.services import idempotency
from tests.apps.accounts.factories import bearer
from tests.apps.jobs.notes import COUNTS, NOTES, InTheView, titles
from tests.problems import assert_problem
from tests.processes import wait_until
from tests.races import at_once, in_thread
from tests.repetitions import assert_repeated, send

pytestmark = pytest.mark.django_db(transaction=True)


class Pause:
    """Pause a view between its effect and its response, until ``leave`` is set."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.leave.wait(30)


@pytest.fixture
def pause(in_the_view: InTheView) -> Pause:
    """Pause the view that creates the next note."""
    pause = Pause()
    in_the_view(pause)
    return pause


def test_one_of_twenty_at_once_takes_effect(owner: User) -> None:
    headers = bearer(owner)

    def post(_: int) -> Any:
        return Client().post(
            COUNTS, '{"seconds":0}', content_type="application/json", **headers, HTTP_IDEMPOTENCY_KEY="one"
        )

    answers = at_once(20, post)
    assert Job.objects.count() == IdempotencyKey.objects.count() == 1
    done = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in done}) == 1
    assert sum("Idempotency-Replayed" not in answer for answer in done) == 1
    for answer in answers:
        if answer.status_code != 202:
            assert_problem(answer, 409, "idempotency-key-in-use")
    assert send(owner, COUNTS, {"seconds": 0}, key="one").content == done[0].content


def test_waiter_gets_409_after_two_seconds(owner: User, pause: Pause) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(in_thread, send, owner, NOTES, {"title": "A"})
        assert pause.entered.wait(30)
        started = timezone.now()
        try:
            refused = send(owner, NOTES, {"title": "A"})
            other = send(owner, COUNTS)
        finally:
            pause.leave.set()
        waited = (timezone.now() - started).total_seconds()
        assert_problem(refused, 409, "idempotency-key-in-use")
        assert int(refused["Retry-After"]) >= 1
        assert other.status_code == 202, "a key belongs to one route"
        assert 1.5 < waited < 20
        assert_repeated(first.result(30), send(owner, NOTES, {"title": "A"}))
    assert titles() == ["A"]


def test_number_of_waiters_is_bounded(owner: User, pause: Pause, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 60.0)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(in_thread, send, owner, NOTES, {"title": "A"})
        assert pause.entered.wait(30)
        others = [pool.submit(in_thread, send, owner, NOTES, {"title": "A"}) for _ in range(12)]
        wait_until(
            lambda: sum(other.done() for other in others) == 12 - idempotency.WAITERS_MAX,
            seconds=20,
            what="the requests that do not wait",
        )
        pause.leave.set()
        assert_repeated(first.result(30), send(owner, NOTES, {"title": "A"}))
        assert sorted(other.result(30).status_code for other in others) == [201] * idempotency.WAITERS_MAX + [409] * 10
    assert titles() == ["A"]


def test_waiter_runs_if_the_first_fails(owner: User, in_the_view: InTheView) -> None:
    entered, leave = threading.Event(), threading.Event()

    def fail() -> None:
        if not entered.is_set():
            entered.set()
            assert leave.wait(30)
            raise RuntimeError("planted")

    in_the_view(fail)

    def first() -> Any:
        client = Client(raise_request_exception=False)
        return client.post(
            NOTES, '{"title":"A"}', content_type="application/json", **bearer(owner), HTTP_IDEMPOTENCY_KEY="k"
        )

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(in_thread, first)
        assert entered.wait(30)
        second = pool.submit(in_thread, send, owner, NOTES, {"title": "A"})
        wait_for_a_lock()
        leave.set()
        assert failing.result(30).status_code == 500
        assert second.result(30).status_code == 201
    assert titles() == ["A"]


def wait_for_a_lock() -> None:
    """Wait until a statement waits for another transaction."""

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            return bool(cursor.fetchone()[0])

    wait_until(is_waiting, seconds=10, what="a waiting statement")


def test_caches_change_after_the_commit(owner: User, in_the_view: InTheView) -> None:
    assert Client().get(NOTES).json()["results"] == []
    seen: list[Any] = []
    in_the_view(lambda: seen.append(ThreadPoolExecutor(1).submit(in_thread, listed).result(30)))
    assert send(owner, NOTES, {"title": "A"}).status_code == 201
    assert seen == [[]], "an uncommitted note was shown"
    assert [note["title"] for note in listed()] == ["A"]


def listed() -> list[Any]:
    found: list[Any] = Client().get(NOTES).json()["results"]
    return found
