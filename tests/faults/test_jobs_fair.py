"""Heavy jobs of one account: they run one at a time and delay no mail. A job that is cancelled or out of time ends within 2 s."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.faults.submitters import PATIENCE, WIDE, Ledger, Owner
from tests.fleet import fleet_running
from tests.processes import wait_until
from tests.rounds import Rounds
from tools.fleet import ROOT, Fleet, Service
from tools.stack import Stack

CANCEL_SECONDS = 2.0
OVERTIME_SECONDS = 2.0
FORGET_SECONDS = 3.0  # until PostgreSQL has given up the statement of a process that was killed
MAIL_SECONDS = 5.0
BUSY = 2.0  # where the machine is busy with other things


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    """One web process and a worker of three, with the cap of production."""
    given = WIDE | {"JOBS_RUNNING_PER_USER": "1"}
    with fleet_running(
        stack, worker=True, edge=False, instances=1, DJANGO_SETTINGS_MODULE="tests.faults.settings", **given
    ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def other(fleet: Fleet) -> Owner:
    return Owner(fleet)


def cancelled(fleet: Fleet, job: str) -> str:
    """Cancel a job as an operator does, and return what the command says."""
    command = [sys.executable, "manage.py", "jobs", "cancel", job]
    environment = {**fleet.webs[0].environment, "PROCESS_KIND": "command"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True, text=True)
    return ran.stdout


def test_second_job_of_an_account_waits(
    owner: Owner, other: Owner, ledger: Ledger, worker: Service, rounds: Rounds
) -> None:
    for _ in rounds:
        heavy = owner.submit_many(2, 6)
        wait_until(lambda ids=heavy: ledger.states(ids)["running"] == 1, seconds=PATIENCE, what="one to run")
        began = time.monotonic()
        light = other.submit(0)
        other.wait(light, "succeeded")
        taken = time.monotonic() - began
        assert ledger.states(heavy) == {"running": 1, "queued": 1}
        ledger.done_once([*heavy, light])  # the second is not forgotten
        rounds.tell(light=taken)


def test_time_limit_needs_no_checkpoint(ledger: Ledger, worker: Service, rounds: Rounds) -> None:
    query = "SELECT extract(epoch FROM finished_at - started_at), state, problem FROM jobs_job WHERE id = %s"
    for _ in rounds:
        job = ledger.insert("sample.overtime", {})
        wait_until(lambda ids=[job]: ledger.states(ids)["discarded"] == 1, seconds=PATIENCE, what="it to be ended")
        seconds, state, problem = ledger.rows(query, job)[0]
        limit = 2  # seconds, of its kind
        assert limit <= seconds <= limit + OVERTIME_SECONDS * (1 if rounds.is_soak else BUSY), f"{seconds:.1f} s"
        assert (state, problem["type"].rpartition("/")[2]) == ("discarded", "attempts-exhausted")
        rounds.tell(overtime=float(seconds) - limit)


@pytest.mark.parametrize("does", ["waits for PostgreSQL", "computes"])
def test_cancellation_needs_no_checkpoint(
    fleet: Fleet, owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, does: str
) -> None:
    for _ in rounds:
        concurrent = owner.submit(6)
        job = ledger.insert("sample.trouble", {"does": does})
        wait_until(lambda ids=[job]: ledger.states(ids)["running"] == 1, seconds=PATIENCE, what="it to run")
        time.sleep(0.5)  # into its work
        assert cancelled(fleet, job).startswith("0 cancelled, 1 will stop")
        began = time.monotonic()
        wait_until(lambda ids=[job]: ledger.states(ids)["cancelled"] == 1, seconds=PATIENCE, what="it to be cancelled")
        taken = time.monotonic() - began
        assert taken <= CANCEL_SECONDS * (1 if rounds.is_soak else BUSY), f"{taken:.1f} s"
        wait_until(
            lambda: (
                not ledger.rows(
                    "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%%pg_sleep(30%%'"
                    " AND pid <> pg_backend_pid()"
                )
            ),
            seconds=FORGET_SECONDS * BUSY,
            what="its statement to end",
        )
        ledger.done_once([concurrent])  # the process that did it has been replaced, and no other job was lost
        assert ledger.claims([concurrent, job]) == [1, 1], json.dumps(ledger.tally([concurrent, job]))
        rounds.tell(taken=taken)


def test_mail_is_sent_beside_heavy_jobs(
    owner: Owner, other: Owner, ledger: Ledger, worker: Service, rounds: Rounds
) -> None:
    for _ in rounds:
        heavy = owner.submit_many(2, 8) + other.submit_many(2, 8)
        wait_until(lambda ids=heavy: ledger.states(ids)["running"] == 2, seconds=PATIENCE, what="two to run")
        began = time.monotonic()
        mail = ledger.insert("sample.nothing", {}, queue="mail")
        wait_until(
            lambda ids=[mail]: ledger.states(ids)["succeeded"] == 1, seconds=PATIENCE, what="the mail to be sent"
        )
        taken = time.monotonic() - began
        assert taken <= MAIL_SECONDS * (1 if rounds.is_soak else BUSY), f"{taken:.1f} s"
        assert ledger.states(heavy) == {"running": 2, "queued": 2}, "one process is kept free"
        ledger.done_once(heavy)  # those that were not taken for that are not forgotten
        rounds.tell(mail=taken)
