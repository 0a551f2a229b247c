"""Fixtures of the account tests. What needs models is imported late: pytest reads this file before Django is set up."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """No test meets what another one left in memory or in Redis."""
    from apps.accounts.selectors.sessions import sessions_forget_all
    from apps.practices.caching.testing import caches_forget

    caches_forget()
    sessions_forget_all()


@pytest.fixture
def client() -> Client:
    return Client(headers={"user-agent": "tests/1"})
