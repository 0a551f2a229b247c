"""Fixtures of fault tests: servers to break, the service, a worker, submitters of jobs, and a reader of the jobs table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.submitters import WIDE, Ledger, Owner
from tests.fleet import fleet_running
from tools.fleet import Fleet, Service
from tools.stack import Stack


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    """One web process and a worker with short leases; a module whose story needs another has its own."""
    with fleet_running(
        stack, worker=True, edge=False, instances=1, DJANGO_SETTINGS_MODULE="tests.faults.settings", **WIDE
    ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def owner(fleet: Fleet) -> Owner:
    return Owner(fleet)


@pytest.fixture(scope="module")
def ledger(fleet: Fleet) -> Ledger:
    return Ledger(fleet)


@pytest.fixture
def worker(fleet: Fleet) -> Iterator[Service]:
    """Return the worker, which runs before the test and after it."""
    service = fleet.worker
    assert service is not None
    if not service.is_running:
        service.start()
    yield service
    if not service.is_running:
        service.start()
