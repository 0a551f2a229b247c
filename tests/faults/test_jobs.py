"""Accepted work is never lost and takes effect once, whatever is killed, stopped or emptied."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from apps.operations.fleet import Fleet, Service
from apps.operations.stack import Stack
from tests.faults.submitters import ENDED, PATIENCE, WIDE, Ledger, Owner
from tests.fleet import fleet_running
from tests.processes import wait_until


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(
        stack, worker=True, edge=False, instances=1, DJANGO_SETTINGS_MODULE="tests.faults.settings", **WIDE
    ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def owner(fleet: Fleet) -> Owner:
    return Owner(fleet)


@pytest.fixture(scope="module")
def ledger(fleet: Fleet) -> Ledger:
    return Ledger(fleet)


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


def test_work_of_a_killed_worker_is_done_once_by_the_next(owner: Owner, ledger: Ledger, worker: Service) -> None:
    job_id = owner.submit(2)
    owner.wait(job_id, "running")
    worker.kill()
    assert owner.job(job_id)["state"] == "running"
    worker.start()
    owner.done_once(job_id)
    assert ledger.claims(job_id) == 2


def test_work_of_a_killed_child_is_done_once_by_another(owner: Owner, ledger: Ledger, worker: Service) -> None:
    job_id = owner.submit(2)
    owner.wait(job_id, "running")
    for child in running_children(worker):
        child.send_signal(signal.SIGKILL)
    owner.done_once(job_id)
    assert ledger.claims(job_id) == 2
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
