"""A browser that has signed in before is not blocked by guesses from elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from apps.accounts.models import AttemptCount, User
from apps.accounts.services.attempts import attempts_clear
from apps.accounts.services.devices import device_known, device_proof
from tests.apps.accounts.cookies import login, post
from tests.apps.accounts.factories import PASSWORD, user_create
from tests.problems import assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
WRONG = "not what it should be"


def guessed(client: Client, user: User, times: int, *, bearer: bool = False) -> list[int]:
    body = {"email": user.email, "password": WRONG, "transport": "bearer" if bearer else "cookie"}
    return [post(client, "login", body).status_code for _ in range(times)]


def admin_login(client: Client, email: str) -> Any:
    return client.post("/admin/login/", {"username": email, "password": PASSWORD}, headers={"accept": "text/html"})


def test_guesses_do_not_block_a_known_browser(client: Client, user: User) -> None:
    assert login(client, user).status_code == 200
    post(client, "logout")
    assert guessed(Client(), user, 12) == [401] * 10 + [429] * 2
    assert_problem(login(Client(), user), 429, "too-many-attempts")
    assert login(client, user).status_code == 200
    # The owner's success does not clear the common count.
    assert_problem(login(Client(), user), 429, "too-many-attempts")


def test_admin_login_knows_browsers_too(client: Client) -> None:
    user = user_create(is_staff=True)
    assert admin_login(client, user.email).status_code == 302
    guessed(Client(), user, 12)
    assert admin_login(Client(), user.email).status_code == 429
    assert admin_login(client, user.email).status_code == 302


def test_known_browser_has_ten_attempts_too(client: Client, user: User) -> None:
    login(client, user)
    assert guessed(client, user, 12) == [401] * 10 + [429] * 2
    assert_problem(login(client, user), 429, "too-many-attempts")
    assert login(Client(), user).status_code == 200  # which has another count


def test_cookie_of_another_account_is_unknown(client: Client, user: User) -> None:
    """Otherwise an attacker with an account could get any number of counts for another account."""
    mine = user_create()
    browsers = [Client() for _ in range(3)]
    for browser in browsers:
        assert login(browser, mine).status_code == 200
    assert [status for browser in browsers for status in guessed(browser, user, 5)] == [401] * 10 + [429] * 5


@pytest.mark.parametrize("value", ["", "x", "x.y", ".", "1-a." + "0" * 64, "a" * 60_000, "é.é", "9" * 30 + "-a.b"])
def test_forged_cookie_is_unknown(client: Client, user: User, value: str) -> None:
    client.cookies["device"] = value
    assert guessed(client, user, 11, bearer=True) == [401] * 10 + [429]
    assert AttemptCount.objects.count() == 1


def test_device_is_known_for_one_account_and_180_days(user: User) -> None:
    now = timezone.now()
    proof = device_proof(email=user.email, now=now)
    name = device_known(proof, email=user.email.upper(), now=now)
    assert name
    assert device_known(proof, email=user.email, now=now + timedelta(days=179)) == name
    assert device_known(proof, email=user.email, now=now + timedelta(days=181)) == ""
    assert device_known(proof, email="other@example.com", now=now) == ""
    later = str(int(now.timestamp()) + 10**8)
    assert device_known(f"{later}-{proof.partition('-')[2]}", email=user.email, now=now) == ""
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[]):
        assert device_known(proof, email=user.email, now=now) == ""


def test_unlock_clears_the_count_of_every_device(client: Client, user: User) -> None:
    login(client, user)
    guessed(client, user, 10)
    guessed(Client(), user, 10)
    guessed(Client(), user_create(email="other@example.com"), 3)
    assert sum(count.failures for count in attempts_clear(email=user.email)) == 20
    assert AttemptCount.objects.get().failures == 3
    assert login(client, user).status_code == 200
