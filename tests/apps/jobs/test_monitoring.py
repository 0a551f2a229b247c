"""Reads for operators: filters and statistics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import Job
from apps.jobs.monitoring import job_stats, jobs_filter
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db


def test_jobs_filter(job_make: Callable[..., Job], owner: User) -> None:
    now = timezone.now()
    first = job_make(kind="first", created_at=now - timedelta(hours=3))
    failed = job_make(kind="second", state="discarded", finished_at=now)
    others = job_make(kind="second", owner=user_create())

    def chosen(**conditions: Any) -> list[Job]:
        return list(jobs_filter(**conditions))

    assert chosen() == [others, failed, first]
    assert chosen(ids=[first.pk, others.pk]) == [others, first]
    assert chosen(states=["queued"]) == [others, first]
    assert chosen(states=["discarded", "running"]) == [failed]
    assert chosen(kind="second") == [others, failed]
    assert chosen(owner=owner) == [failed, first]
    assert chosen(older=timedelta(hours=2)) == [first]
    assert chosen(states=["queued"], kind="second", owner=owner) == []


def test_oldest_is_the_longest_due_job(job_make: Callable[..., Job]) -> None:
    now = timezone.now()
    job_make(run_at=now - timedelta(minutes=10))
    job_make(run_at=now - timedelta(hours=1))
    job_make(run_at=now - timedelta(hours=5), state="cancelled", finished_at=now)
    job_make(run_at=now + timedelta(hours=1), queue="mail")
    oldest = job_stats().oldest
    assert 3000 < oldest["default"] < 2 * 3600
    assert oldest["mail"] == 0
