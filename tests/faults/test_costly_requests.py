"""Expensive requests from many clients at once: they are refused before the cost, and other clients notice nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlencode

import psycopg
import pytest

from tests.clients import Pages, registered
from tests.faults.submitters import WIDE, Owner
from tests.fleet import Answer, ask, fleet_running
from tests.noticed import Flood, unharmed
from tests.rounds import Rounds
from tools.fleet import Fleet
from tools.stack import Stack

NOTES = "/api/v1/sample/notes"
MEMBERS = {f"key-{number}": number for number in range(19_900)}
LONG = f"a{'1' * 8_190}a"  # the worst for validators that look for what a common password was dressed up with


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(stack, edge=True, WEB_CONCURRENCY="1", WEB_THREADS="8", **WIDE) as fleet:
        yield fleet


def test_bodies_of_many_mistakes_hold_nobody_up(fleet: Fleet, rounds: Rounds) -> None:
    context, body = fleet.ssl_context(), json.dumps(MEMBERS).encode()
    headers = Owner(fleet).headers | {"Content-Type": "application/json"}
    post = partial(ask, fleet.url, NOTES, method="POST", body=body, headers=headers, context=context)
    for flood in unharmed(fleet.url, NOTES, lambda: Flood([post] * 20), rounds, context=context):
        assert set(flood.answers) == {400}, flood.answers


def test_staff_with_long_passwords_hold_nobody_up(fleet: Fleet, rounds: Rounds) -> None:
    """Hashing is not all that a password costs: the validators come first."""
    url = fleet.webs[0].url
    credentials, victim = registered(url), registered(url)
    with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"]) as database:
        staff = "UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE email = %s"
        database.execute(staff, [credentials["email"]])
        [(victim_id,)] = database.execute("SELECT id FROM accounts_user WHERE email = %s", [victim["email"]]).fetchall()
    page = f"/admin/accounts/user/{victim_id}/password/"
    form = urlencode({"password1": LONG, "password2": LONG, "usable_password": "true"}).encode()

    def post(browser: Pages) -> Answer:
        headers = {
            "Accept": "text/html",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
            "Referer": f"https://localhost{page}",
            "X-CSRFToken": next(value for name, value in browser.cookies.items() if "csrftoken" in name),
        }
        return ask(url, page, method="POST", body=form, headers=headers)

    browsers = [Pages.signed_in(url, credentials) for _ in range(4)]
    calls = [partial(post, browser) for browser in browsers]
    for flood in unharmed(url, NOTES, lambda: Flood(calls), rounds):
        assert set(flood.answers) == {200}, flood.answers
    assert b"Use at most 128 characters." in post(browsers[0]).content
