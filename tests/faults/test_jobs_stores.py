"""Redis or PostgreSQL goes down among many jobs: every job that was answered 202 runs once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.submitters import COUNTS, PATIENCE, WIDE, Ledger, Owner
from tests.fleet import fleet_on
from tests.processes import wait_until
from tests.rounds import Rounds
from tests.servers import (
    Fault,
    postgresql_paused,
    postgresql_restarted,
    redis_flushed,
    redis_full,
    redis_paused,
    redis_stopped,
)
from tools.fleet import Fleet, Service
from tools.stack import Stack

MANY = 200
LEASE = 4  # tests.faults.settings
PROCESSES = 2  # of a worker
TIMES = 2
ACCEPTED_SECONDS = 1.0  # the promise: within so long a submission is answered
BUSY_SECONDS = 2.0  # more, where the machine is busy with other things


@pytest.fixture(scope="module")
def fleet(own_stack: Stack) -> Iterator[Fleet]:
    with fleet_on(
        own_stack.state.urls, instances=1, worker=True, settings_module="tests.faults.settings", **WIDE
    ) as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("fault", "lasts"), [(redis_stopped, 0), (redis_paused, 12), (redis_flushed, 0), (redis_full, 0)]
)
def test_jobs_without_redis_run_once(
    own_stack: Stack, owner: Owner, ledger: Ledger, rounds: Rounds, fault: Fault, lasts: float
) -> None:
    for _ in rounds:
        before = owner.submit_many(5, 0.1)
        with fault(own_stack):
            began = time.monotonic()
            accepted = owner.submit_many(MANY, 0)
            slowest = owner.slowest
            time.sleep(max(0.0, began + lasts - time.monotonic()))
        assert slowest < ACCEPTED_SECONDS + (0 if rounds.is_soak else BUSY_SECONDS), f"{slowest:.2f} s"
        taken = ledger.done_once([*before, *accepted])
        rounds.tell(**ledger.tally([*before, *accepted]), slowest=slowest, back=taken)


def test_worker_survives_repeated_loss_of_redis(
    own_stack: Stack, owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds
) -> None:
    """Each time, one message for each of its processes cannot be acknowledged."""
    for _ in rounds:
        accepted = []
        for _ in range(TIMES):
            held = owner.submit_many(PROCESSES, 1)
            wait_until(
                lambda ids=held: ledger.states(ids)["running"] == PROCESSES, seconds=PATIENCE, what="them to be at work"
            )
            with redis_stopped(own_stack):
                ledger.done_once(held)
            accepted += [*held, owner.submit(0)]
            ledger.done_once(accepted)
        rounds.tell(**ledger.tally(accepted))
    assert worker.is_running


class Submissions(threading.Thread):
    """A thread that submits without a pause and keeps the ids that were answered 202; the only other answers are 503 and 504."""

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

    def wait(self, more: int) -> None:
        """Wait until ``more`` more are accepted."""
        enough = len(self.accepted) + more
        wait_until(lambda: len(self.accepted) >= enough, seconds=PATIENCE, what=lambda: f"202, not {self.others[-3:]}")

    def __enter__(self) -> Submissions:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)


@pytest.mark.parametrize(("fault", "lasts"), [(postgresql_restarted, 0), (postgresql_paused, LEASE + 2)])
def test_postgresql_down_under_load(
    own_stack: Stack, owner: Owner, ledger: Ledger, rounds: Rounds, fault: Fault, lasts: float
) -> None:
    for _ in rounds:
        long = owner.submit(lasts + 3)
        with Submissions(owner) as submissions:
            submissions.wait(20)
            with fault(own_stack):
                time.sleep(lasts)
            submissions.wait(20)
        accepted = [long, *submissions.accepted]
        assert set(submissions.others) <= {503, 504}, "504: its statement was cut off when PostgreSQL went on"
        taken = ledger.done_once(accepted, seconds=60)
        assert ledger.claims([long]) == [1], "its worker lived, so nobody may have taken it away"
        rounds.tell(**ledger.tally(accepted), refused=len(submissions.others), back=taken)
