"""Jobs that kill, a killed web process and wrong clocks: healthy jobs run once and none is discarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from statistics import median

import psutil
import pytest

from tests.faults.submitters import COUNTS, PATIENCE, Ledger, Owner, ready_again, times_ready
from tests.processes import wait_until
from tests.rounds import Rounds
from tests.servers import redis_paused
from tools.fleet import Fleet, Service
from tools.stack import Stack

HEALTHY = 100
SLOWER = 1.2  # the promise: healthy jobs take at most so much longer beside a poison job
BUSY_SECONDS = 15.0  # more for a single round of short jobs, where the machine is busy with other things


@pytest.fixture
def restarted(worker: Service) -> Iterator[list[float]]:
    """Restart the worker whenever it dies, as a host does; yield the times of the restarts."""
    starts: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            if not worker.is_running:
                starts.append(time.monotonic())
                worker.start()

    # The worker dies with the thread that started it, hence at the test's end; the fixture above starts it again.
    thread = threading.Thread(target=watch)
    thread.start()
    yield starts
    over.set()
    thread.join(10)
    if worker.is_running:
        worker.stop()


def healthy_done(owner: Owner, ledger: Ledger, each: float) -> tuple[float, list[str]]:
    """Run the healthy jobs; return the seconds from the first submission to the last end, and the ids."""
    accepted = owner.submit_many(HEALTHY, each)
    ledger.done_once(accepted)
    return ledger.seconds(accepted), accepted


@pytest.mark.parametrize("does", ["kills its process", "takes memory", "takes memory elsewhere"])
def test_poison_job_does_not_slow_healthy_jobs(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, does: str
) -> None:
    # Three attempts and three new processes cost some seconds however long the healthy jobs are; these are what the ratio is of.
    each, taken = 0.5 if rounds.is_soak else 0.03, []
    without, _ = healthy_done(owner, ledger, each)
    for _ in rounds:
        poison = ledger.insert("sample.trouble", {"does": does})
        with_poison, healthy = healthy_done(owner, ledger, each)
        discarded(ledger, poison)
        blamed = ledger.rows("SELECT count(*) FROM jobs_job WHERE id = ANY(%s::uuid[]) AND attempts > 1", healthy)
        assert blamed == [(0,)]
        assert worker.is_running
        taken.append(with_poison)
        rounds.tell(
            **ledger.tally([*healthy, poison]), without=without, with_poison=with_poison, ratio=with_poison / without
        )
    # One round may have met another load; the one in the middle of five has not.
    assert median(taken) < without * SLOWER + (0 if rounds.is_soak else BUSY_SECONDS), f"{taken}, not {without:.1f} s"


def discarded(ledger: Ledger, poison: str) -> None:
    """Wait until the job is discarded after its third attempt, the last of its kind."""
    wait_until(lambda: ledger.one(poison)[0] == "discarded", seconds=PATIENCE, what=lambda: str(ledger.one(poison)))
    assert ledger.one(poison)[1] == 3


def test_job_that_kills_its_worker_is_discarded_alone(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, restarted: list[float]
) -> None:
    for _ in rounds:
        before = len(restarted)
        poison = ledger.insert("sample.trouble", {"does": "kills its worker"})
        concurrent = owner.submit_many(4, 2.5)
        ledger.done_once(concurrent, seconds=90)
        discarded(ledger, poison)
        deaths = len(restarted) - before
        assert 3 <= deaths <= 5
        rounds.tell(**ledger.tally([*concurrent, poison]), deaths=deaths)


def test_web_process_killed_after_commit_loses_nothing(
    fleet: Fleet, owner: Owner, ledger: Ledger, worker: Service, stack: Stack, rounds: Rounds
) -> None:
    """Redis hangs, so that the process is still trying to send when it is killed."""
    [web] = fleet.webs
    for _ in rounds:
        before = {row[0] for row in ledger.rows("SELECT id::text FROM jobs_job")}
        new: set[str] = set()

        def appeared(new: set[str] = new, before: set[str] = before) -> bool:
            rows = ledger.rows("SELECT id::text FROM jobs_job WHERE kind = 'sample.count'")
            new.update({row[0] for row in rows} - before)
            return bool(new)

        try:
            with redis_paused(stack):
                request = threading.Thread(target=_ask_in_vain, args=[owner])
                request.start()
                wait_until(appeared, seconds=20, what="the row")
                web.kill()
                request.join(20)
        finally:
            if not web.is_running:
                web.start()
        ledger.done_once(new)
        rounds.tell(**ledger.tally(new))


def _ask_in_vain(owner: Owner) -> None:
    try:
        owner.ask(COUNTS, method="POST", body={"seconds": 0})
    except OSError:
        return


def test_wrong_worker_clocks_do_no_harm(
    fleet: Fleet,
    owner: Owner,
    ledger: Ledger,
    worker: Service,
    faketime: Callable[[str], dict[str, str]],
    rounds: Rounds,
) -> None:
    """One clock is a minute ahead, one behind, one right. Each job runs longer than a lease."""
    others = [
        Service(name=f"worker-{number}", folder=fleet.folder, environment=worker.environment | faketime(off))
        for number, off in enumerate(("+60s", "-60s"), 2)
    ]
    for _ in rounds:
        accepted = [owner.submit(6)]
        try:
            before = [times_ready(other) for other in others]
            for other in others:
                other.start()
            for other, times in zip(others, before, strict=True):
                ready_again(other, times)
            accepted += owner.submit_many(8, 6)  # more than fit at once, so that a worker that starts late gets one too
            ledger.done_once(accepted)
        finally:
            for other in others:
                other.stop()
        assert ledger.claims(accepted) == [1] * len(accepted), "no lease counted as expired"
        names = ledger.rows("SELECT DISTINCT worker FROM jobs_job WHERE id = ANY(%s::uuid[])", accepted)
        assert len(names) == 3, "all worked"
        assert [round(ahead(other) / 60) for other in others] == [1, -1]
        rounds.tell(**ledger.tally(accepted))


def ahead(service: Service) -> float:
    """Return by how many seconds its clock is ahead of the file system's."""
    return datetime.fromisoformat(service.lines()[-1]["time"]).timestamp() - service.log_path.stat().st_mtime


def test_waiting_for_isolation_delays_no_stop(owner: Owner, ledger: Ledger, worker: Service) -> None:
    """And nothing is claimed when the isolated job ends, because the worker is stopping."""
    quarantined = owner.submit(10)
    wait_until(lambda: ledger.one(quarantined)[0] == "running", seconds=PATIENCE, what="the job")
    ledger.rows("UPDATE jobs_job SET quarantined = true, isolated = true WHERE id = %s RETURNING 1", quarantined)
    waiting = owner.submit(0)
    time.sleep(1)
    assert ledger.one(waiting)[0] == "queued", "nothing runs beside an isolated job"
    pids = [process.pid for process in psutil.Process(worker.pid).children()]
    worker.terminate()
    started = time.monotonic()
    worker.wait(15)
    assert time.monotonic() - started < 12
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert ledger.one(quarantined)[:2] == ("queued", 0)
    assert (ledger.one(waiting)[0], ledger.claims([waiting])) == ("queued", [0])
    shorter = """UPDATE jobs_job SET parameters = '{"seconds": 0}' WHERE id = %s RETURNING 1"""
    ledger.rows(shorter, quarantined)  # what is left to see does not depend on how long it takes
    worker.start()
    ledger.done_once([waiting, quarantined], seconds=90)
