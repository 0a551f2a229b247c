"""Accepted work is never lost and takes effect once, whatever is killed, stopped or emptied."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import redis

from apps.operations.fleet import Fleet, Service
from apps.operations.stack import Stack
from tests.fleet import Answer, ask, fleet_running
from tests.processes import wait_until

PATIENCE = 40  # seconds; what takes longer is lost
ENDED = ("succeeded", "failed", "cancelled")


class Owner:
    """A signed-in stranger who submits jobs and watches them."""

    def __init__(self, fleet: Fleet) -> None:
        self.url = fleet.webs[0].url
        credentials = {"email": "owner@example.com", "password": "lanterns over low water"}
        assert ask(self.url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
        signed_in = ask(self.url, "/api/v1/auth/login", method="POST", body=credentials).json()
        self.headers = {"Authorization": f"Bearer {signed_in['access']}"}

    def submit(self, seconds: float) -> str:
        answer = self.ask("/api/v1/sample/notes/counts", method="POST", body={"seconds": seconds})
        assert answer.status == 202, answer
        return str(answer.json()["id"])

    def ask(self, path: str, **options: Any) -> Answer:
        return ask(self.url, path, headers=self.headers, **options)

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.ask(f"/api/v1/jobs/{job_id}").json())

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until the job is in one of the states; fail with what it is instead."""
        wait_until(
            lambda: self.job(job_id)["state"] in states,
            seconds=PATIENCE,
            what=lambda: f"one of {states} instead of {self.job(job_id)}",
        )
        return self.job(job_id)

    def done_once(self, job_id: str) -> dict[str, Any]:
        job = self.wait(job_id, *ENDED)
        assert job["state"] == "succeeded", job
        assert self.ask(f"/api/v1/sample/notes/effects?job={job_id}").json() == {"effects": 1}
        return job


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(
        stack, worker=True, edge=False, instances=1, DJANGO_SETTINGS_MODULE="tests.faults.settings"
    ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def owner(fleet: Fleet) -> Owner:
    return Owner(fleet)


@pytest.fixture
def worker(fleet: Fleet) -> Iterator[Service]:
    """The worker, running before the test and after it."""
    service = fleet.worker
    assert service is not None
    if service.process is None or service.process.poll() is not None:
        service.start()
    yield service
    if service.process.poll() is not None:
        service.start()


def running_children(worker: Service) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children()


def test_work_of_a_killed_worker_is_done_once_by_the_next(owner: Owner, worker: Service) -> None:
    job_id = owner.submit(2)
    owner.wait(job_id, "running")
    worker.kill()
    assert owner.job(job_id)["state"] == "running"
    worker.start()
    assert owner.done_once(job_id)["attempts"] == 2


def test_work_of_a_killed_child_is_done_once_by_another(owner: Owner, worker: Service) -> None:
    job_id = owner.submit(2)
    owner.wait(job_id, "running")
    for child in running_children(worker):
        child.send_signal(signal.SIGKILL)
    assert owner.done_once(job_id)["attempts"] == 2
    assert worker.process is not None
    assert worker.process.poll() is None


def test_a_stop_of_the_whole_group_lets_a_short_job_end(owner: Owner, worker: Service) -> None:
    job_id = owner.submit(1.5)
    owner.wait(job_id, "running")
    worker.terminate_group()
    worker.wait(20)
    assert owner.job(job_id)["state"] == "succeeded", worker.log()[-2000:]
    assert owner.done_once(job_id)["attempts"] == 1


def test_a_stop_gives_a_long_job_back_and_a_cancellation_ends_it(owner: Owner, worker: Service) -> None:
    job_id = owner.submit(60)
    owner.wait(job_id, "running")
    worker.terminate()
    worker.wait(20)
    released = owner.job(job_id)
    assert (released["state"], released["attempts"]) == ("queued", 0), worker.log()[-2000:]

    worker.start()
    owner.wait(job_id, "running")
    asked = time.monotonic()
    assert owner.ask(f"/api/v1/jobs/{job_id}", method="DELETE").status == 200
    assert owner.wait(job_id, *ENDED)["state"] == "cancelled"
    assert time.monotonic() - asked < 10
    assert owner.ask(f"/api/v1/sample/notes/effects?job={job_id}").json() == {"effects": 0}


@pytest.mark.parametrize("fault", ["stopped", "hung"])
def test_a_broker_that_is_away_loses_nothing(owner: Owner, worker: Service, stack: Stack, fault: str) -> None:
    broker = stack.services["redis"]
    broker.stop() if fault == "stopped" else os.kill(broker.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        jobs = [owner.submit(0.1) for _ in range(3)]
        spent = time.monotonic() - started
    finally:
        stack.restart("redis") if fault == "stopped" else os.kill(broker.pid, signal.SIGCONT)
    assert spent < 3 * 3, "each answer is to come within a second; the rest is for a busy machine"
    for job_id in jobs:
        owner.done_once(job_id)


def test_an_emptied_broker_loses_nothing(owner: Owner, worker: Service, stack: Stack) -> None:
    worker.terminate()
    worker.wait(20)
    jobs = [owner.submit(0.1) for _ in range(5)]
    with redis.Redis.from_url(stack.state.urls["REDIS_URL"]) as broker:
        broker.flushall()
    worker.start()
    for job_id in jobs:
        owner.done_once(job_id)


def test_the_request_id_reaches_the_workers_log(owner: Owner, worker: Service) -> None:
    answer = owner.ask("/api/v1/sample/notes/counts", method="POST", body={"seconds": 0})
    job_id = answer.json()["id"]
    owner.done_once(job_id)
    wait_until(lambda: _ended(worker, job_id), seconds=PATIENCE, what=lambda: f"its last line: {worker.log()[-2000:]}")
    assert _ended(worker, job_id)[0]["request_id"] == answer.headers["x-request-id"]


def _ended(worker: Service, job_id: str) -> list[dict[str, Any]]:
    return [line for line in worker.lines() if line.get("event") == "job_ended" and line.get("job_id") == job_id]


def test_a_stop_ends_the_worker_whose_broker_goes_too(owner: Owner, worker: Service, stack: Stack) -> None:
    """Celery's own heartbeat would publish its farewell for ever."""
    job_id = owner.submit(4)
    owner.wait(job_id, "running")
    worker.terminate_group()
    stack.services["redis"].kill()
    try:
        worker.wait(26)
    finally:
        stack.restart("redis")
