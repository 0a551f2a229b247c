"""What operators do at once to many jobs changes those only that are still what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.jobs.models import Job
from apps.jobs.services import operating

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
