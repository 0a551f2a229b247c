"""Mails about alerts: one when a fault made with real counters is seen, one when it is over, however many workers look."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.services.schedules import schedules_insert
from apps.jobs.tasks import job_run
from apps.operations.alerts import mails
from apps.operations.alerts.measures import Facts
from apps.operations.alerts.table import Firing, firing
from apps.operations.models import AlertState
from apps.practices.observability import history
from tests.apps.operations.faults import fired, forget_gauges, process_with, requests
from tests.mails import parsed, text_of
from tests.practices.test_environment import VALID
from tests.processes import ROOT
from tests.races import at_once

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def addresses(numbers: None, settings: Any) -> None:
    settings.OBSERVABILITY_ALERT_EMAILS = ["ops@example.com", "oncall@example.com"]


def look(minute: int, *, later: int = 0) -> list[str]:
    """Do the job of a minute with the metrics of now, or of some minutes later; return the subjects of the mails it sends."""
    forget_gauges()
    found = firing(Facts(history.history(60, now=time.time() + 60 * later)))
    with transaction.atomic():
        mails.alerts_record(found, now=NOW + timedelta(minutes=minute))
    return [str(message["Subject"]) for message in sent()]


def sent() -> list[EmailMessage]:
    """Do every mail job that waits, and return what was sent since the last call."""
    mail.outbox.clear()
    for job_id in Job.objects.filter(kind=mails.KIND, state="queued").values_list("pk", flat=True):
        job_run(str(job_id))
    return [parsed(message.message().as_bytes()) for message in mail.outbox]


FIRES, ENDED = "[Shipshape] Requests fail: fires", "[Shipshape] Requests fail: has ended"


def test_one_mail_when_it_fires_and_one_when_it_ends(addresses: None) -> None:
    assert look(0) == []
    requests(40, status=500)
    assert look(1) == [FIRES]
    assert look(2) == []
    assert look(3, later=3) == [ENDED]
    assert look(4, later=3) == []
    assert look(5) == [], "within an hour of the last mail"
    assert look(6, later=3) == [], "what sent no mail ends without one"
    assert look(50) == []
    assert look(61) == [FIRES], "it still fires when the hour is over"


def test_the_schedule_sends_what_an_operator_needs(addresses: None, settings: Any) -> None:
    settings.JOBS_SCHEDULES = {"alerts": {"kind": "operations.alerts", "every": 60}}
    requests(40, status=500)
    assert schedules_insert() == 1
    job_run(str(Job.objects.get(schedule="alerts").pk))
    [message] = sent()
    assert message["To"] == "ops@example.com, oncall@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert "More than 5 % of requests fail with a 5xx status.\n\nSeverity: critical\nValue: 1\n" in text_of(message)
    assert "http://testserver/admin/operations/runbook#requests-fail\n" in text_of(message)
    state = AlertState.objects.get(name="RequestsFail")
    assert state.is_mailed
    assert state.since is not None
    assert timezone.now() - state.since < timedelta(minutes=1)


def test_it_must_hold_for_its_minutes(addresses: None) -> None:
    process_with(db_client_connection_pending_requests=1)
    assert [look(minute) for minute in (0, 1, 2)] == [[], [], ["[Shipshape] Pool waits: fires"]]


def test_nothing_ends_while_its_metrics_are_unknown(addresses: None) -> None:
    requests(40, status=500)
    assert look(1) == [FIRES]
    with transaction.atomic():
        mails.alerts_record(firing(Facts(history.local())), now=NOW + timedelta(minutes=2))  # as without Redis
    assert AlertState.objects.get(name="RequestsFail").is_mailed
    assert sent() == []


@pytest.mark.django_db(transaction=True)
def test_several_workers_send_one(addresses: None) -> None:
    requests(40, status=500)
    assert "RequestsFail" in fired()

    def record(_: int) -> int:
        with transaction.atomic():
            return mails.alerts_record(found, now=NOW)

    found: list[Firing] = []
    assert record(0) == 0  # the rows exist: no insertion makes the workers wait for each other
    found = firing(Facts())
    assert sorted(at_once(4, record)) == [0, 0, 0, 1]


@pytest.mark.parametrize(("given", "scheduled"), [("", False), ("ops@example.com, Ops <b@example.com>", True)])
def test_it_is_scheduled_if_somebody_is_to_be_mailed(given: str, scheduled: bool) -> None:
    code = "import json; from settings.components import jobs; print(json.dumps(list(jobs.JOBS_SCHEDULES)))"
    environment = {**VALID, "ALERT_EMAILS": given}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert ("alerts" in json.loads(ran.stdout)) is scheduled
