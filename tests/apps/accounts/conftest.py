"""Fixtures of the account tests. Models are imported late, because pytest reads this file before Django is set up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from apps.accounts.models import User
    from tests.apps.accounts.cookies import Browser


@pytest.fixture
def client() -> Client:
    return Client(headers={"user-agent": "tests/1"})


@pytest.fixture
def user(db: None) -> User:
    from tests.apps.accounts.factories import user_create

    return user_create(name="Ada")


@pytest.fixture
def signed_in(user: User) -> Browser:
    """Return a browser that has signed in as the user in cookie mode."""
    from tests.apps.accounts.cookies import Browser, login

    browser = Browser(headers={"user-agent": "tests/1"})
    response = login(browser, user)
    assert response.status_code == 200, response.content
    browser.csrf = response.json()["csrf_token"]
    return browser


@pytest.fixture
def clock(db: None) -> Iterator[None]:
    """Stop PostgreSQL's clock, so that attempts have the same time however long the test takes."""
    from tests.clocks import clock_held

    with clock_held():
        yield
