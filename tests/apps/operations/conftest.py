"""Fixtures of the tests of operations. Imports of the service are inside them: pytest loads this file before the settings."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def numbers(db: None, settings: Any) -> Iterator[None]:
    """Count into metrics of this test alone, read gauges again, and close the breakers that other tests left open."""
    from apps.jobs.models import JobWorker
    from apps.practices.mechanisms import breaker, metrics_flusher, metrics_store
    from tests.apps.operations.faults import forget_gauges

    metrics_flusher.start()
    metrics_flusher.flush()  # what was counted before goes where it belongs
    settings.OBSERVABILITY_METRICS_PREFIX = f"alerts-{secrets.token_hex(4)}"
    forget_gauges()
    for one in list(breaker._breakers):
        one.succeeded()
    JobWorker.objects.create(name="host/1-1", queues=["default", "mail"])
    yield
    metrics_flusher.flush()
    for key in metrics_store.client().scan_iter(f"{settings.OBSERVABILITY_METRICS_PREFIX}:*"):
        metrics_store.client().delete(key)
    forget_gauges()
