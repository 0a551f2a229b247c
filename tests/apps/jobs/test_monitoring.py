"""Reads for operators: statistics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.monitoring import job_stats

pytestmark = pytest.mark.django_db


def test_oldest_is_the_longest_due_job(job_make: Callable[..., Job]) -> None:
    now = timezone.now()
    job_make(run_at=now - timedelta(minutes=10))
    job_make(run_at=now - timedelta(hours=1))
    job_make(run_at=now - timedelta(hours=5), state="cancelled", finished_at=now)
    job_make(run_at=now + timedelta(hours=1), queue="mail")
    oldest = job_stats().oldest
    assert 3000 < oldest["default"] < 2 * 3600
    assert oldest["mail"] == 0
