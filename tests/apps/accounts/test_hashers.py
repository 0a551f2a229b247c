"""A process never computes more hashes at once than it has slots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.test import Client, override_settings

from apps.accounts.hashers import HashingBusy, hashing_slot
from apps.accounts.models import User
from tests.apps.accounts.factories import PASSWORD, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_slot_left() -> Iterator[None]:
    """Take both of two slots."""
    with override_settings(TOKENS_HASHES_AT_ONCE=2), ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(hashing_slot())
        yield


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("login", {"email": "ada@example.com", "password": PASSWORD}),
        ("login", {"email": "nobody@example.com", "password": PASSWORD}),
        ("register", {"email": "new@example.com", "password": PASSWORD}),
    ],
)
def test_excess_hashes_are_refused_at_once(
    client: Client, path: str, body: dict[str, str], request: pytest.FixtureRequest
) -> None:
    user_create(email="ada@example.com")
    request.getfixturevalue("no_slot_left")
    response = client.post(f"/api/v1/auth/{path}", body, content_type="application/json")
    assert_problem(response, 503, "hashing-busy")
    assert response.headers["Retry-After"] == "1"
    assert User.objects.count() == 1


def test_admin_login_has_the_same_limit(client: Client, request: pytest.FixtureRequest) -> None:
    user_create(email="ada@example.com", is_staff=True)
    request.getfixturevalue("no_slot_left")
    response = client.post("/admin/login/", {"username": "ada@example.com", "password": PASSWORD})
    assert response.status_code == 503


def test_slots_are_released_after_errors() -> None:
    with override_settings(TOKENS_HASHES_AT_ONCE=1):
        for _ in range(3):
            with pytest.raises(KeyError), hashing_slot():
                raise KeyError
        stored = make_password(PASSWORD)
        assert check_password(PASSWORD, stored)
        assert not check_password("another", stored)
        with hashing_slot(), pytest.raises(HashingBusy):
            make_password(PASSWORD)
