"""With the times of production: a killed worker among 200 jobs, and stops with jobs that fit into them and jobs that do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.operations.fleet import Fleet, Service
from apps.operations.stack import Stack
from tests.faults.submitters import PATIENCE, WIDE, Ledger, Owner
from tests.fleet import fleet_running
from tests.processes import wait_until

MANY = 200
BACK = 15  # seconds from a worker's return until what the dead one held is done


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(stack, worker=True, edge=False, instances=1, JOBS_PER_USER="10000", **WIDE) as fleet:
        yield fleet


@pytest.fixture
def worker(fleet: Fleet) -> Service:
    service = fleet.worker
    assert service is not None
    if not service.is_running:
        service.start()
    return service


def test_a_killed_worker_among_200_jobs_loses_none(fleet: Fleet, worker: Service, soak: bool) -> None:
    owner, ledger = Owner(fleet), Ledger(fleet)
    for _ in range(5 if soak else 1):
        accepted = owner.submit_many(MANY, 0.05)
        wait_until(
            lambda ids=accepted: ledger.states(ids)["succeeded"] >= 20 and ledger.states(ids)["running"],
            seconds=PATIENCE,
            what="some to be done",
        )
        worker.kill()
        held = [row[0] for row in ledger.rows("SELECT id::text FROM jobs_job WHERE state = 'running'")]
        assert held
        before = times_ready(worker)
        worker.start()
        wait_until(lambda: times_ready(worker) > before, seconds=PATIENCE, what="the worker")  # noqa: B023 - called here
        taken = ledger.done_once(held)
        assert taken < BACK, f"{taken:.1f} s"
        ledger.done_once(accepted)


def times_ready(worker: Service) -> int:
    """How often the worker has said that it takes messages."""
    return worker.log().count(" ready.")


@pytest.mark.parametrize("stop", ["terminate", "terminate_group"])
def test_a_stop_ends_8_seconds_and_gives_60_back(fleet: Fleet, worker: Service, stop: str) -> None:
    owner, ledger = Owner(fleet), Ledger(fleet)
    short, long = owner.submit(8), owner.submit(60)
    wait_until(lambda: ledger.states([short, long])["running"] == 2, seconds=PATIENCE, what="both to run")
    getattr(worker, stop)()
    worker.wait(26)
    assert ledger.one(short)[0] == "succeeded", worker.log()[-2000:]
    assert ledger.one(long)[:2] == ("queued", 0), worker.log()[-2000:]
    ledger.done_once([short])
    assert owner.ask(f"/api/v1/jobs/{long}", method="DELETE").json()["state"] == "cancelled"
