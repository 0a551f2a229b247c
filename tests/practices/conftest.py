"""One fleet for all live tests of the practices; a test that stops an instance of it starts it again."""

from collections.abc import Iterator

import pytest

from apps.operations.fleet import Fleet
from apps.operations.stack import Stack
from tests.fleet import fleet_running


@pytest.fixture(scope="session")
def fleet(stack: Stack) -> Iterator[Fleet]:
    """Two instances of three threads each behind the edge and a worker, no limits on callers, addresses in full in the log."""
    wide = {f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")}
    with fleet_running(stack, worker=True, WEB_THREADS="3", LOG_ADDRESSES="full", **wide) as running:
        yield running
