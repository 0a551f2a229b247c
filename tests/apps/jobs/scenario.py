"""What the walk over operations.txt acts on."""

from collections.abc import Callable
from typing import Any

from django.db.models.functions import Now

from apps.accounts.models import User
from apps.jobs.models import Job
from apps.jobs.services.outcomes import AttemptsExhausted, problem_stored


def _job(**columns: Any) -> Callable[[User], Job]:
    given = {"kind": "sample.count", "parameters": {"seconds": 0}, **columns}
    return lambda owner: Job.objects.create(owner=owner, **given)


OBJECTS = {
    "queued": _job(),
    "discarded": _job(state="discarded", finished_at=Now(), problem=problem_stored(AttemptsExhausted())),
    "finished": _job(state="succeeded", finished_at=Now(), result={"counted": 1}),
    # Of a kind that staff may read.
    "asked": _job(kind="sample.census", parameters={}),
    "open": _job(kind="sample.census", parameters={}, state="succeeded", finished_at=Now(), result={"notes": 1}),
}
ADMIN_CLOSED = {"job": {"add", "delete"}}
