"""What one account's heavy jobs leave to others: mails go out beside them, and a cancelled one has ended within 2 seconds."""

from __future__ import annotations

import json
import time

import pytest

from apps.operations.fleet import Service
from tests.faults.submitters import PATIENCE, Ledger, Owner
from tests.processes import wait_until
from tests.rounds import Rounds

CANCEL_SECONDS = 2.0
MAIL_SECONDS = 5.0
BUSY = 2.0  # where the machine is busy with other things


@pytest.mark.parametrize("does", ["waits for PostgreSQL", "computes"])
def test_a_cancellation_needs_no_checkpoint(
    owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds, does: str
) -> None:
    for _ in rounds:
        beside = owner.submit(6)
        job = ledger.insert("sample.trouble", {"does": does})
        wait_until(lambda ids=[job]: ledger.states(ids)["running"] == 1, seconds=PATIENCE, what="it to run")
        time.sleep(0.5)  # into its work
        began = time.monotonic()
        ledger.rows("UPDATE jobs_job SET stop = 'cancel' WHERE id = %s RETURNING 1", job)
        wait_until(lambda ids=[job]: ledger.states(ids)["cancelled"] == 1, seconds=PATIENCE, what="it to be cancelled")
        taken = time.monotonic() - began
        assert taken <= CANCEL_SECONDS * (1 if rounds.is_soak else BUSY), f"{taken:.1f} s"
        ledger.done_once([beside])  # the process that did it has been replaced, and nobody else's work was lost
        assert ledger.claims([beside, job]) == [1, 1], json.dumps(ledger.tally([beside, job]))
        rounds.tell(taken=taken)


def test_mail_goes_out_whatever_else_runs(owner: Owner, ledger: Ledger, worker: Service, rounds: Rounds) -> None:
    for _ in rounds:
        heavy = owner.submit_many(4, 8)
        wait_until(lambda ids=heavy: ledger.states(ids)["running"] == 2, seconds=PATIENCE, what="two to run")
        began = time.monotonic()
        mail = ledger.insert("sample.nothing", {}, queue="mail")
        wait_until(
            lambda ids=[mail]: ledger.states(ids)["succeeded"] == 1, seconds=PATIENCE, what="the mail to be sent"
        )
        taken = time.monotonic() - began
        assert taken <= MAIL_SECONDS, f"{taken:.1f} s"
        assert ledger.states(heavy) == {"running": 2, "queued": 2}, "one process is kept free"
        ledger.done_once(heavy)  # those that were not taken for that are not forgotten
        rounds.tell(mail=taken)
