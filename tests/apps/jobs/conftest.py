"""A user with jobs. Django is set up after this file is read, hence the imports inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from apps.accounts.models import User
    from apps.jobs.models import Job


@pytest.fixture
def owner(db: None) -> User:
    from tests.apps.accounts.factories import user_create

    return user_create()


@pytest.fixture
def job_make(owner: User) -> Callable[..., Job]:
    """Store a job of the owner, queued unless the columns say otherwise."""
    from apps.jobs.models import Job

    def make(**columns: Any) -> Job:
        given = {"kind": "sample.count", "owner": owner, "parameters": {"seconds": 0}, **columns}
        job = Job.objects.create(**given)
        job.refresh_from_db()
        return job

    return make
