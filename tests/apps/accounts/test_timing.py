"""A refused sign-in does not reveal whether the account exists: not by its response, statements or time."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db
PAIRS, SOAK_PAIRS, ATTEMPTS = 60, 200, 3
WRONG = "not what it should be"
WIDE = (1_000_000, 1)


@pytest.fixture(autouse=True)
def _no_other_limit(settings: Any) -> None:
    settings.THROTTLING_POLICIES = dict.fromkeys(settings.THROTTLING_POLICIES, WIDE)


def emails(kind: str, amount: int, *, first: int = 0) -> list[str]:
    """Return addresses of one length, with or without an account."""
    found = [f"{kind:.4}{number:04}@example.com" for number in range(first, first + amount)]
    if kind != "unknown":
        for email in found:
            user_create(email=email, is_active=kind != "deactivated", is_staff=True)
    return found


def api(client: Client, email: str) -> Any:
    return client.post("/api/v1/auth/login", {"email": email, "password": WRONG}, content_type="application/json")


def admin(client: Client, email: str) -> Any:
    body = {"username": email, "password": WRONG}
    return client.post("/admin/login/", body, headers={"accept": "text/html"})


Try = Callable[[Client, str], Any]


def shape(answer: Any, email: str) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """Return what a stranger can compare: everything except ids, counts, form tokens and the typed address."""
    request_id = answer.headers["X-Request-ID"]
    passing = {"x-request-id", "ratelimit", "set-cookie", "content-security-policy", "expires"}
    headers = sorted((name, value) for name, value in answer.headers.items() if name.lower() not in passing)
    content = answer.content.replace(request_id.encode(), b"").replace(email.encode(), b"")
    content = re.sub(rb'(name="csrfmiddlewaretoken" value|nonce)="[^"]*"', b"", content)
    return answer.status_code, content, tuple(headers)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("login", [api, admin])
def test_refusals_have_the_same_response_and_work(client: Client, login: Try) -> None:
    shapes, work = set(), set()
    for kind in ("known", "deactivated", "unknown"):
        (email,) = emails(kind, 1)
        for number in range(11):
            with CaptureQueriesContext(connection) as queries:
                answer = login(client, email)
            shapes.add((number == 10, shape(answer, email)))
            statements = (query["sql"].split()[0] for query in queries)
            work.add((min(number, 1), number == 10, tuple(statements)))
    assert {status for _, (status, _, _) in shapes} == {401 if login is api else 200, 429}
    assert len(shapes) == 2  # one of a wrong password, one of too many
    assert len(work) == 3, work  # the first, a later one, a refused one


def medians(client: Client, *, first: int, pairs: int) -> tuple[float, float]:
    """Return the median seconds of interleaved refused sign-ins, with an account and without."""
    kinds = ("known", "unknown")
    addresses = {kind: emails(kind, pairs, first=first) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(pairs):
        for kind in kinds if number % 2 else reversed(kinds):
            began = time.perf_counter()
            answer = api(client, addresses[kind][number])
            seconds[kind].append(time.perf_counter() - began)
            assert answer.status_code == 401
    known, unknown = (statistics.median(seconds[kind]) for kind in kinds)
    return known, unknown


def test_refusals_take_the_same_time(client: Client, soak: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """60 interleaved pairs, and 200 with ``--soak``: medians within 10 % or 5 ms.

    A real difference shows in every run, other load does not.
    """
    pairs = SOAK_PAIRS if soak else PAIRS
    for attempt in range(ATTEMPTS):
        known, unknown = medians(client, first=attempt * pairs, pairs=pairs)
        with capsys.disabled():
            print(f"\nsign-in refused: median {known * 1000:.1f} ms with an account, {unknown * 1000:.1f} ms without")
        if abs(known - unknown) <= max(0.005, 0.1 * max(known, unknown)):
            return
    pytest.fail("the times tell who has an account")
