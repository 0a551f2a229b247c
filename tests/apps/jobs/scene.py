"""What the walk over operations.txt acts on."""

from collections.abc import Callable
from typing import Any

from django.db.models.functions import Now

from apps.accounts.models import User
from apps.jobs.models import Job


def _job(**columns: Any) -> Callable[[User], Job]:
    return lambda owner: Job.objects.create(kind="sample.count", owner=owner, parameters={"seconds": 0}, **columns)


OBJECTS = {
    "queued": _job(),
    "failed": _job(state="failed", finished_at=Now(), problem={"title": "Failed"}),
    "finished": _job(state="succeeded", finished_at=Now(), result={"counted": 1}),
}
ADMIN_CLOSED = {"job": {"add", "delete"}}
