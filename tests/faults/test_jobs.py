"""Running jobs: cancellation, deploys, dead processes, and a stop without a broker."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil

from tests.faults.submitters import ENDED, PATIENCE, Ledger, Owner
from tests.processes import alive, wait_until
from tests.rounds import Rounds
from tools.fleet import Fleet, Service
from tools.stack import Stack

CANCELLED_SECONDS = 2.0  # the promise
BUSY_SECONDS = 8.0  # that one try of several may take longer, on a machine busy with other things
TRIES = 3
REPLACED_SECONDS = 2.0  # of all but one: the machine may stand still; Celery's own next look is up to five seconds away
PROCESSES = 3  # of a worker
DEATHS = 16  # of which Celery misses one in three


def test_cancelled_job_ends_soon(owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds) -> None:
    for _ in rounds:
        taken = [cancelled_after(owner, owner.submit(60)) for _ in range(TRIES)]
        assert min(taken) < CANCELLED_SECONDS, taken
        assert max(taken) < CANCELLED_SECONDS + (0 if rounds.is_soak else BUSY_SECONDS), taken
        rounds.tell(cancelled=TRIES, slowest=max(taken))


def cancelled_after(owner: Owner, job_id: str) -> float:
    """Cancel a running job, and return the seconds until it is cancelled."""
    owner.wait(job_id, "running")
    asked = time.monotonic()
    assert owner.ask(f"/api/v1/jobs/{job_id}", method="DELETE").status == 200
    assert owner.wait(job_id, *ENDED)["state"] == "cancelled"
    taken = time.monotonic() - asked
    assert owner.effects(job_id) == 0
    return taken


def test_dead_process_is_replaced(owner: Owner, worker: Service, rounds: Rounds) -> None:
    """Until then the pool is a process short."""
    # Not before it works: Celery's worker ends at once when a process dies while it starts.
    owner.wait(owner.submit(0), "succeeded")
    wait_until(lambda: len(pool_of(worker)) == PROCESSES, seconds=PATIENCE, what="the pool")
    for _ in rounds:
        taken = []
        for _ in range(DEATHS):
            dead, *others = pool_of(worker)
            os.kill(dead, signal.SIGKILL)
            killed = time.monotonic()
            wait_until(
                lambda known={dead, *others}: set(pool_of(worker)) - known, seconds=PATIENCE, what="another process"
            )
            taken.append(time.monotonic() - killed)
            time.sleep(0.5)  # Celery gives up a pool of which many die at once
        assert sorted(taken)[-2] < REPLACED_SECONDS, taken
        rounds.tell(deaths=DEATHS, slowest=max(taken))


def pool_of(worker: Service) -> list[int]:
    """Return the living processes of a worker."""
    return alive(child.pid for child in psutil.Process(worker.pid).children())


def test_five_deploys_discard_nothing(
    fleet: Fleet, owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds
) -> None:
    """The next worker starts while the last one stops."""
    old, new = worker, Service(name="worker-2", folder=fleet.folder, environment=worker.environment)
    try:
        for _ in rounds:
            long = owner.submit(6)
            accepted = [long, *owner.submit_many(20, 0.2)]
            for deploys in range(5):
                wait_until(
                    lambda claimed=(long, deploys + 1): is_running(ledger, *claimed),
                    seconds=PATIENCE,
                    what="the long job",
                )
                assert ledger.one(long)[:2] == ("running", 1), "the deploy before gave its attempt back"
                old.terminate()
                went_down(new)
                new.start()
                old, new = new, old
            ledger.done_once(accepted, seconds=60)
            assert ledger.claims([long]) == [6]
            went_down(new)
            rounds.tell(**ledger.tally(accepted), deploys=5)
    finally:
        if old is not worker:
            old.stop()


def went_down(service: Service) -> None:
    """Wait for a clean exit of a worker that was stopped."""
    assert service.process is None or service.wait(15) in (0, 1)


def is_running(ledger: Ledger, job_id: str, claim: int) -> bool:
    """Return whether a job runs with this number of claims."""
    return (ledger.one(job_id)[0], ledger.claims([job_id])) == ("running", [claim])


def test_request_id_reaches_the_worker_log(owner: Owner, ledger: Ledger, worker: Service) -> None:
    answer = owner.ask("/api/v1/sample/notes/counts", method="POST", body={"seconds": 0})
    job_id = answer.json()["id"]
    ledger.done_once([job_id])
    wait_until(lambda: _ended(worker, job_id), seconds=PATIENCE, what=lambda: f"its last line: {worker.log()[-2000:]}")
    assert _ended(worker, job_id)[0]["request_id"] == answer.headers["x-request-id"]


def _ended(worker: Service, job_id: str) -> list[dict[str, Any]]:
    return [line for line in worker.lines() if line.get("event") == "job_ended" and line.get("job_id") == job_id]


def test_worker_stops_without_a_broker(owner: Owner, worker: Service, stack: Stack) -> None:
    """With Celery's own heartbeat, the worker would try for ever to publish its last event."""
    job_id = owner.submit(4)
    owner.wait(job_id, "running")
    worker.terminate_group()
    stack.servers["redis"].kill()
    try:
        worker.wait(26)
    finally:
        stack.restart("redis")
