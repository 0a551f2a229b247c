"""Fixtures of the account tests. What needs models is imported late: pytest reads this file before Django is set up."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.fixture
def client() -> Client:
    return Client(headers={"user-agent": "tests/1"})
