"""One fleet for all live tests of the practices; a test that stops an instance of it starts it again. And a session."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet import fleet_running
from tools.fleet import Fleet
from tools.stack import Stack


@pytest.fixture(scope="session")
def fleet(stack: Stack) -> Iterator[Fleet]:
    """Two instances of three threads each behind the edge and a worker, no limits on callers, addresses in full in the log."""
    wide = {f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")}
    with fleet_running(stack, worker=True, WEB_THREADS="3", LOG_ADDRESSES="full", **wide) as running:
        yield running


@pytest.fixture
def token_keys() -> Iterator[None]:
    """Use a ring of one key that the tests know."""
    from django.test import override_settings

    from tests.practices.tokens_bench import EPOCH, KEY, ring

    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH))):
        yield


@pytest.fixture
def pair(db: None, token_keys: None) -> Any:
    """Return the tokens of a new session, from the device that `tokens_bench` uses."""
    from tests.apps.accounts.factories import sign_in, user_create
    from tests.practices.tokens_bench import AGENT

    return sign_in(user_create(), device=AGENT)
