"""Bulk actions of operators change only the jobs that are still in the expected state."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.services import bulk
from apps.jobs.services.claims import Claimer, job_claim
from apps.jobs.services.relay import jobs_relay
from tests.apps.accounts.factories import user_create
from tests.processes import wait_until

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


def row_lock_is_awaited() -> bool:
    """Return whether a statement waits for a row that another transaction has locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("act", "columns"), [(bulk.jobs_retry, {"state": "discarded", "finished_at": Now()}), (bulk.jobs_cancel, {})]
)
def test_jobs_that_changed_state_are_left_alone(
    act: Any, columns: dict[str, Any], job_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 1)
    first, second = job_make(**columns), job_make(**columns)
    batches = act(jobs=Job.objects.all(), by="test")
    assert next(batches).changed == (first.pk,)
    Job.objects.filter(pk=second.pk).update(state="succeeded", finished_at=Now())
    before = Job.objects.filter(pk=second.pk).values().get()
    assert [done.changed for done in batches] == [()]
    assert Job.objects.filter(pk=second.pk).values().get() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("taken", [True, False])
def test_cancel_sees_concurrent_claims_and_releases(job_make: Make, taken: bool) -> None:
    waits, runs = {"state": "queued", "leased_until": None}, {"state": "running", "leased_until": timezone.now()}
    before, after = (waits, runs) if taken else (runs, waits)
    job = job_make(**before)

    def cancel() -> list[bulk.Done]:
        try:
            return list(bulk.jobs_cancel(jobs=Job.objects.all(), by="test"))
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            Job.objects.filter(pk=job.pk).update(**after)
            cancelling = pool.submit(cancel)
            wait_until(row_lock_is_awaited, seconds=20, what="waiting for the row")
        (done,) = cancelling.result(20)
    job.refresh_from_db()
    assert (done.changed, done.asked) == (((), (job.pk,)) if taken else ((job.pk,), ()))
    assert (job.state, job.stop) == (("running", "cancel") if taken else ("cancelled", ""))


def test_retried_jobs_get_fair_start_tags(job_make: Make) -> None:
    gone = {"state": "discarded", "finished_at": Now()}
    many, one = [job_make(**gone) for _ in range(6)], job_make(**gone, owner=user_create())
    (done,) = bulk.jobs_retry(jobs=Job.objects.all(), by="test")
    assert len(done.changed) == 7
    assert jobs_relay() == 7
    claimed = [job_claim(claimer=Claimer(queue="default", worker="here/1", runner=str(number))) for number in range(7)]
    order = [job.pk for job in claimed if job]
    assert order.index(one.pk) < 3
    assert set(order) == {job.pk for job in (*many, one)}
