"""A user with jobs. Django is set up after this file is read, hence the imports inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from apps.accounts.models import User
    from apps.jobs.models import Job
    from tests.apps.jobs.notes import InTheView


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


@pytest.fixture
def in_the_view(monkeypatch: pytest.MonkeyPatch) -> InTheView:
    """Return a function that makes something happen after a note is stored and before its answer is."""
    from tests.sample import views

    stored = views.note_create

    def arrange(happening: Callable[[], Any]) -> None:
        def create(**values: Any) -> Any:
            note = stored(**values)
            found = happening()
            return note if found is None else found

        monkeypatch.setattr(views, "note_create", create)

    return arrange
