"""What a job does to its worker, and what other machines do: healthy work is done, once, unparked."""

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
SLOWER = 1.2  # the promise: so much longer at most the healthy ones take beside a poison job
BUSY_SECONDS = 15.0  # more for a single round of short jobs, where the machine is busy with other things


@pytest.fixture
def restarted(worker: Service) -> Iterator[list[float]]:
    """A host that starts the worker again as soon as it has died; when it did."""
    starts: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            if not worker.is_running:
                starts.append(time.monotonic())
                worker.start()

    # The worker dies with the thread that started it, hence at the test's end; the fixture above starts it anew.
    thread = threading.Thread(target=watch)
    thread.start()
    yield starts
    over.set()
    thread.join(10)
    if worker.is_running:
        worker.stop()


def healthy_done(owner: Owner, ledger: Ledger, each: float) -> tuple[float, list[str]]:
    """Do the healthy jobs: the seconds from the first submission until the last end, and what was accepted."""
    accepted = owner.submit_many(HEALTHY, each)
    ledger.done_once(accepted)
    return ledger.seconds(accepted), accepted


@pytest.mark.parametrize("does", ["kills its process", "takes memory", "takes memory elsewhere"])
def test_a_poison_job_is_parked_and_the_healthy_ones_take_as_long_as_without_it(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, does: str
) -> None:
    # Three attempts and three new processes cost some seconds however long the healthy jobs are; these are what the ratio is of.
    each, taken = 0.5 if rounds.is_soak else 0.03, []
    without, _ = healthy_done(owner, ledger, each)
    for _ in rounds:
        poison = ledger.insert("sample.trouble", {"does": does})
        beside, healthy = healthy_done(owner, ledger, each)
        parked(ledger, poison)
        blamed = ledger.rows("SELECT count(*) FROM jobs_job WHERE id = ANY(%s::uuid[]) AND attempts > 1", healthy)
        assert blamed == [(0,)]
        assert worker.is_running
        taken.append(beside)
        rounds.tell(**ledger.tally([*healthy, poison]), without=without, beside=beside, ratio=beside / without)
    # One round may have met another load; the one in the middle of five has not.
    assert median(taken) < without * SLOWER + (0 if rounds.is_soak else BUSY_SECONDS), f"{taken}, not {without:.1f} s"


def parked(ledger: Ledger, poison: str) -> None:
    """Wait until the job has failed at its third attempt, the last of its kind."""
    wait_until(lambda: ledger.one(poison)[0] == "discarded", seconds=PATIENCE, what=lambda: str(ledger.one(poison)))
    assert ledger.one(poison)[1] == 3


def test_a_job_that_kills_its_worker_is_parked_and_nobody_beside_it(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, restarted: list[float]
) -> None:
    for _ in rounds:
        before = len(restarted)
        poison = ledger.insert("sample.trouble", {"does": "kills its worker"})
        beside = owner.submit_many(4, 2.5)
        ledger.done_once(beside, seconds=90)
        parked(ledger, poison)
        deaths = len(restarted) - before
        assert 3 <= deaths <= 5
        rounds.tell(**ledger.tally([*beside, poison]), deaths=deaths)


def test_a_web_process_that_dies_between_commit_and_message_has_accepted(
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


def test_workers_whose_clocks_are_off_by_a_minute_keep_their_jobs_and_take_nobodys(
    fleet: Fleet,
    owner: Owner,
    ledger: Ledger,
    worker: Service,
    faketime: Callable[[str], dict[str, str]],
    rounds: Rounds,
) -> None:
    """One ahead and one behind, beside one whose clock is right; each job is longer than a lease."""
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
            accepted += owner.submit_many(5, 6)
            ledger.done_once(accepted)
        finally:
            for other in others:
                other.stop()
        assert ledger.claims(accepted) == [1] * 6, "no lease was taken for run out"
        names = ledger.rows("SELECT DISTINCT worker FROM jobs_job WHERE id = ANY(%s::uuid[])", accepted)
        assert len(names) == 3, "all worked"
        assert [round(ahead(other) / 60) for other in others] == [1, -1]
        rounds.tell(**ledger.tally(accepted))


def ahead(service: Service) -> float:
    """By how many seconds its clock is ahead of the file system's."""
    return datetime.fromisoformat(service.lines()[-1]["time"]).timestamp() - service.log_path.stat().st_mtime


def test_who_stands_by_for_a_suspect_holds_up_no_stop(owner: Owner, ledger: Ledger, worker: Service) -> None:
    """And claims nothing when the suspect has ended, as the worker is going."""
    suspect = owner.submit(10)
    wait_until(lambda: ledger.one(suspect)[0] == "running", seconds=PATIENCE, what="the job")
    ledger.rows("UPDATE jobs_job SET quarantined = true, isolated = true WHERE id = %s RETURNING 1", suspect)
    waiting = owner.submit(0)
    time.sleep(1)
    assert ledger.one(waiting)[0] == "queued", "nothing runs beside a suspect"
    pids = [process.pid for process in psutil.Process(worker.pid).children()]
    worker.terminate()
    started = time.monotonic()
    worker.wait(15)
    assert time.monotonic() - started < 12
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert ledger.one(suspect)[:2] == ("queued", 0)
    assert (ledger.one(waiting)[0], ledger.claims([waiting])) == ("queued", [0])
    worker.start()
    ledger.done_once([waiting, suspect], seconds=90)
