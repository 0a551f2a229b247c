"""What operators do at once to many jobs changes those only that are still what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.jobs.models import Job
from apps.jobs.services import operating
from apps.jobs.services.claims import job_claim
from apps.jobs.services.relay import jobs_relay
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


@pytest.mark.parametrize(
    ("act", "columns"), [(operating.jobs_retry, {"state": "failed", "finished_at": Now()}), (operating.jobs_cancel, {})]
)
def test_what_moved_on_meanwhile_is_left_alone(
    act: Any, columns: dict[str, Any], job_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating, "BATCH", 1)
    first, second = job_make(**columns), job_make(**columns)
    batches = act(jobs=Job.objects.all(), by="test")
    assert next(batches).changed == (first.pk,)
    Job.objects.filter(pk=second.pk).update(state="succeeded", finished_at=Now())
    before = Job.objects.filter(pk=second.pk).values().get()
    assert [done.changed for done in batches] == [()]
    assert Job.objects.filter(pk=second.pk).values().get() == before


def test_many_retried_jobs_of_one_owner_leave_room_for_the_other(job_make: Make) -> None:
    gone = {"state": "failed", "finished_at": Now()}
    many, one = [job_make(**gone) for _ in range(6)], job_make(**gone, owner=user_create())
    (done,) = operating.jobs_retry(jobs=Job.objects.all(), by="test")
    assert len(done.changed) == 7
    assert jobs_relay() == 7
    claimed = [job_claim(queue="default", worker="here/1", runner=str(number)) for number in range(7)]
    order = [job.pk for job in claimed if job]
    assert order.index(one.pk) < 3
    assert set(order) == {job.pk for job in (*many, one)}
