"""Log lines and counters of services are written only after the commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from structlog.testing import capture_logs

from apps.accounts.models import SecurityEvent, SecurityEventKind
from apps.accounts.services.events import event_record
from apps.jobs.models import Job
from apps.jobs.services import job_submit, outcomes
from apps.jobs.services.bulk import jobs_cancel, jobs_retry
from apps.jobs.services.claims import Claim
from apps.jobs.services.outcomes import claim_abandon, leases_reap
from apps.jobs.services.schedules import schedules_insert
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


def submitted() -> None:
    job_submit(kind="sample.count", owner=user_create(), parameters={"seconds": 0})


def recorded() -> None:
    event_record(SecurityEventKind.SIGN_IN, now=NOW, user_id=user_create().pk)


def retried() -> None:
    Job.objects.create(kind="sample.count", state="discarded", finished_at=NOW)
    list(jobs_retry(jobs=Job.objects.all(), by="somebody"))


def cancelled() -> None:
    Job.objects.create(kind="sample.count")
    list(jobs_cancel(jobs=Job.objects.all(), by="somebody"))


def abandoned() -> None:
    job = Job.objects.create(kind="sample.count", state="running", leased_until=NOW, attempts=1)
    claim_abandon(claim=Claim(job.pk, job.fence), error="gone")


def reaped() -> None:
    Job.objects.create(kind="sample.count", state="running", leased_until="2026-01-01T00:00:00Z", attempts=1)
    leases_reap()


@pytest.mark.parametrize(
    ("effect", "event"),
    [
        (submitted, "job_submitted"),
        (recorded, "security_event"),
        (retried, "jobs_retried"),
        (cancelled, "jobs_cancelled"),
        (schedules_insert, "jobs_scheduled"),
        (abandoned, "jobs_reclaimed"),
        (reaped, "jobs_reclaimed"),
    ],
)
def test_rollback_logs_and_counts_nothing(
    effect: Callable[[], Any], event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(outcomes, "count", lambda name, *_, **__: counted.append(name))
    with capture_logs() as lines:
        with transaction.atomic():
            effect()
            transaction.set_rollback(True)
        assert [line["event"] for line in lines if line["event"] == event] + counted == []
        assert not Job.objects.exists()
        assert not SecurityEvent.objects.exists()
        with transaction.atomic():
            effect()
        assert [line["event"] for line in lines if line["event"] == event] + counted == [event]
