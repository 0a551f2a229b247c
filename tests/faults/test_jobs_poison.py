"""What a job does to its worker, what a deploy does to jobs, and what other machines do: healthy work is done, once, unparked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from apps.operations.fleet import Fleet, Service
from apps.operations.stack import Stack
from tests.faults.submitters import COUNTS, PATIENCE, WIDE, Ledger, Owner
from tests.fleet import fleet_running
from tests.processes import wait_until

HEALTHY = 100
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


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
    if not service.is_running:
        service.start()
    yield service
    if not service.is_running:
        service.start()


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


@pytest.mark.parametrize("does", ["kills its process", "takes memory", "takes memory elsewhere"])
def test_a_poison_job_is_parked_and_the_healthy_ones_take_as_long_as_without_it(
    owner: Owner, ledger: Ledger, worker: Service, soak: bool, does: str
) -> None:
    without = ledger.done_once(owner.submit_many(HEALTHY, 0.05)) if soak else None
    for _ in range(5 if soak else 1):
        poison = ledger.insert("sample.trouble", {"does": does})
        healthy = owner.submit_many(HEALTHY, 0.05)
        taken = ledger.done_once(healthy)
        parked(ledger, poison)
        blamed = ledger.rows("SELECT count(*) FROM jobs_job WHERE id = ANY(%s::uuid[]) AND attempts > 1", healthy)
        assert blamed == [(0,)]
        if without is not None:
            assert taken < 1.2 * without + 2, f"{taken:.1f} s beside it, {without:.1f} s without"
    assert worker.is_running


def parked(ledger: Ledger, poison: str) -> None:
    """Wait until the job has failed at its third attempt, the last of its kind."""
    wait_until(lambda: ledger.one(poison)[0] == "failed", seconds=PATIENCE, what=lambda: str(ledger.one(poison)))
    assert ledger.one(poison)[1] == 3


def test_a_job_that_kills_its_worker_is_parked_and_nobody_beside_it(
    owner: Owner, ledger: Ledger, worker: Service, restarted: list[float]
) -> None:
    poison = ledger.insert("sample.trouble", {"does": "kills its worker"})
    beside = [owner.submit(2.5) for _ in range(4)]
    ledger.done_once(beside, seconds=90)
    parked(ledger, poison)
    assert 3 <= len(restarted) <= 5


def test_five_deploys_in_a_row_park_nothing(owner: Owner, ledger: Ledger, worker: Service) -> None:
    long = owner.submit(8)
    short = owner.submit_many(20, 0.2)
    for _ in range(5):
        wait_until(lambda: ledger.one(long)[0] == "running", seconds=PATIENCE, what="the long job")
        worker.terminate()
        assert worker.wait(15) in (0, 1)
        assert ledger.one(long)[:2] == ("queued", 0)
        worker.start()
    ledger.done_once([*short, long], seconds=60)


def test_a_web_process_that_dies_between_commit_and_message_has_accepted(
    fleet: Fleet, owner: Owner, ledger: Ledger, worker: Service, stack: Stack, soak: bool
) -> None:
    """Redis hangs, so that the process is still trying to send when it is killed."""
    [web] = fleet.webs
    broker = stack.services["redis"].pid
    assert broker is not None
    for _ in range(5 if soak else 1):
        before = {row[0] for row in ledger.rows("SELECT id::text FROM jobs_job")}
        os.kill(broker, signal.SIGSTOP)
        try:
            request = threading.Thread(target=_ask_in_vain, args=[owner])
            request.start()
            new: set[str] = set()

            def appeared(new: set[str] = new, before: set[str] = before) -> bool:
                rows = ledger.rows("SELECT id::text FROM jobs_job WHERE kind = 'sample.count'")
                new.update({row[0] for row in rows} - before)
                return bool(new)

            wait_until(appeared, seconds=20, what="the row")
            web.kill()
            request.join(20)
        finally:
            os.kill(broker, signal.SIGCONT)
            if not web.is_running:
                web.start()
        ledger.done_once(new)


def _ask_in_vain(owner: Owner) -> None:
    try:
        owner.ask(COUNTS, method="POST", body={"seconds": 0})
    except OSError:
        return


def test_a_worker_whose_clock_is_off_by_a_minute_keeps_its_jobs_and_takes_nobodys(
    fleet: Fleet, owner: Owner, ledger: Ledger, worker: Service
) -> None:
    if not FAKETIME.exists():
        pytest.skip("needs Debian's faketime: apt-get install faketime")
    ours = [owner.submit(7)]
    wait_until(lambda: ledger.one(ours[0])[0] == "running", seconds=PATIENCE, what="the first job")
    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+60s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    other = Service(name="worker-2", folder=fleet.folder, environment=worker.environment | faked)
    other.start()
    try:
        ours += [owner.submit(7) for _ in range(3)]
        ledger.done_once(ours)
        assert [ledger.claims(job_id) for job_id in ours] == [1] * 4, "no lease was taken for run out"
        names = ledger.rows("SELECT DISTINCT worker FROM jobs_job WHERE id = ANY(%s::uuid[])", ours)
        assert len(names) == 2, "both worked"
    finally:
        other.stop()


def test_who_stands_by_for_a_suspect_holds_up_no_stop(owner: Owner, ledger: Ledger, worker: Service) -> None:
    """And claims nothing when the suspect has ended, as the worker is going."""
    suspect = owner.submit(9)
    wait_until(lambda: ledger.one(suspect)[0] == "running", seconds=PATIENCE, what="the job")
    ledger.rows("UPDATE jobs_job SET suspect = true, is_alone = true WHERE id = %s RETURNING 1", suspect)
    waiting = owner.submit(0)
    time.sleep(1.5)
    assert ledger.one(waiting)[0] == "queued", "nothing runs beside a suspect"
    pids = [process.pid for process in psutil.Process(worker.pid).children()]
    worker.terminate()
    started = time.monotonic()
    worker.wait(15)
    assert time.monotonic() - started < 12
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert ledger.one(suspect)[:2] == ("queued", 0)
    assert (ledger.one(waiting)[0], ledger.claims(waiting)) == ("queued", 0)
    worker.start()
    ledger.done_once([waiting, suspect], seconds=90)
