"""With production's timings: a killed process among 200 jobs, and stops with short and long jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest

from tests.faults.submitters import PATIENCE, WIDE, Ledger, Owner, ready_again, times_ready
from tests.fleet import fleet_running
from tests.processes import wait_until
from tests.rounds import Rounds
from tools.fleet import Fleet, Service
from tools.stack import Stack

MANY = 200
BACK_SECONDS = 15.0  # the promise: from a worker's return until all is done
BUSY_SECONDS = 10.0  # more, where the machine is busy with other things


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(stack, worker=True, edge=False, instances=1, JOBS_PER_USER="10000", **WIDE) as fleet:
        yield fleet


def worker_killed(worker: Service, ledger: Ledger) -> list[str]:
    """Kill a busy worker with all its processes, start another, and return its jobs."""
    held = stopped_at_work(ledger, psutil.Process(worker.pid).children())
    worker.kill()
    before = times_ready(worker)
    worker.start()
    ready_again(worker, before)
    return held


def child_killed(worker: Service, ledger: Ledger) -> list[str]:
    """Kill a busy child of a worker, and return its job."""
    child, *_ = psutil.Process(worker.pid).children()
    held = stopped_at_work(ledger, [child])
    child.kill()
    return held


def stopped_at_work(ledger: Ledger, processes: Sequence[psutil.Process]) -> list[str]:
    """Stop processes (SIGSTOP) in the middle of a job, and return the jobs."""
    held: list[str] = []

    def caught() -> bool:
        for process in processes:
            process.suspend()
        time.sleep(0.3)  # for PostgreSQL, to carry out what it has been sent
        # A schedule's job may be among them.
        rows = ledger.rows(
            "SELECT id::text, runner FROM jobs_job WHERE state = 'running' AND starts_with(kind, 'sample.')"
        )
        pids = {str(process.pid) for process in processes}
        held[:] = [job_id for job_id, runner in rows if runner.partition("-")[0] in pids]
        if not held:
            for process in processes:
                process.resume()
        return bool(held)

    wait_until(caught, seconds=PATIENCE, what="them to be at work")
    return held


@pytest.mark.parametrize("death", [worker_killed, child_killed])
def test_kill_among_200_jobs_loses_none(
    owner: Owner,
    ledger: Ledger,
    worker: Service,
    rounds: Rounds,
    death: Callable[[Service, Ledger], list[str]],
) -> None:
    for _ in rounds:
        accepted = owner.submit_many(MANY, 0.05)
        wait_until(lambda ids=accepted: ledger.states(ids)["succeeded"] >= 20, seconds=PATIENCE, what="some to be done")
        held = death(worker, ledger)
        taken = ledger.done_once(accepted)
        assert taken < BACK_SECONDS + (0 if rounds.is_soak else BUSY_SECONDS), f"{taken:.1f} s"
        assert set(held) <= set(accepted)
        assert set(ledger.claims(held)) == {2}
        assert worker.is_running
        rounds.tell(**ledger.tally(accepted), held=len(held), back=taken)


@pytest.mark.parametrize("stop", ["terminate", "terminate_group"])
def test_stop_finishes_short_and_releases_long_jobs(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, stop: str
) -> None:
    for _ in rounds:
        short, long = accepted = [owner.submit(8), owner.submit(60)]
        wait_until(lambda ids=accepted: ledger.states(ids)["running"] == 2, seconds=PATIENCE, what="both to run")
        began = time.monotonic()
        getattr(worker, stop)()
        worker.wait(26)
        stopped = time.monotonic() - began
        assert ledger.one(short)[0] == "succeeded", worker.log()[-2000:]
        assert ledger.one(long)[:2] == ("queued", 0), worker.log()[-2000:]
        ledger.done_once([short])
        assert ledger.claims(accepted) == [1, 1]
        assert owner.ask(f"/api/v1/jobs/{long}", method="DELETE").json()["state"] == "cancelled"
        rounds.tell(done=1, given_back=1, discarded=0, stopped=stopped)
        worker.start()
