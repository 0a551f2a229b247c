"""A session ends everywhere in time with and without Redis, and survives an outage of PostgreSQL."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.clients import Pages, bearer, problem, refreshed, registered, signed_in
from tests.faults.session_ends import ENDS, KEPT, Victim, victim_of
from tests.faults.submitters import WIDE
from tests.fleet import ask, fleet_on
from tests.processes import wait_until
from tests.servers import Fault, postgresql_stopped, redis_flushed, redis_stopped
from tools.fleet import Fleet
from tools.stack import Stack

pytestmark = pytest.mark.timeout(300)

CHECK_SECONDS = 1.0  # SESSION_CHECK_SECONDS as shipped
HASHES_AT_ONCE = 4  # a process refuses more
SLACK = 1.5  # seconds that a loaded machine may add


@pytest.fixture(scope="module")
def fleet(own_stack: Stack) -> Iterator[Fleet]:
    """Start two instances: sessions end at the first, and the second notices at its next check."""
    with fleet_on(own_stack.state.urls, WEB_THREADS="8", **WIDE) as fleet:
        yield fleet


@pytest.fixture
def database(own_stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def administrator(fleet: Fleet, own_stack: Stack) -> Pages:
    """Sign a superuser in to the admin of the first instance."""
    credentials = registered(fleet.webs[0].url)
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE email = %s", [credentials["email"]]
        )
    return Pages.signed_in(fleet.webs[0].url, credentials)


@contextlib.contextmanager
def up(own_stack: Stack) -> Iterator[None]:
    yield


@contextlib.contextmanager
def flushed(own_stack: Stack) -> Iterator[None]:
    """Stop Redis, start it empty, and flush it repeatedly while sessions end."""
    with redis_stopped(own_stack):
        pass
    with redis_flushed(own_stack):
        yield


@pytest.mark.parametrize("state", [up, redis_stopped, flushed])
def test_ended_session_is_refused_everywhere_in_time(
    fleet: Fleet,
    own_stack: Stack,
    database: psycopg.Connection[Any],
    administrator: Pages,
    state: Fault,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = (web.url for web in fleet.webs)
    victims: dict[str, Victim] = {}

    def heard(names: Iterable[str]) -> dict[str, float]:
        victims.update({name: victim_of(fleet, database) for name in names})
        with state(own_stack):
            took = at_a_time(lambda name: heard_after(name, victims[name], administrator, there=there), names)
        with capsys.disabled():
            print(f"\n{state.__name__}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()))
        return took

    assert not late_again(heard, ENDS)
    for name, victim in victims.items():
        if name not in KEPT:
            answers = [refreshed(url, victim.ending["refresh"]) for url in (here, there)]
            assert [problem(answer) for answer in answers] == ["token-refused"] * 2, name


def late_again(heard: Callable[[Iterable[str]], dict[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Repeat what was noticed too late, since the machine may have paused, and return what is late again."""
    late = {name: took for name, took in heard(names).items() if took > CHECK_SECONDS + SLACK}
    if late:
        late = {name: took for name, took in heard(list(late)).items() if took > CHECK_SECONDS + SLACK}
    return late


def heard_after(name: str, victim: Victim, administrator: Pages, *, there: str) -> float:
    """Return the seconds between the response that ends a session and the other instance's first refusal."""
    # The list of sessions succeeds for every authorised request, even if the user has been deleted.
    path, open_to = ("users", 403) if name in KEPT else ("auth/sessions", 401)

    def status(url: str) -> int:
        return ask(url, f"/api/v1/{path}", headers=bearer(victim.ending)).status

    assert (status(victim.here), status(there)) == (200, 200)
    assert ENDS[name](victim, administrator), f"{name} was not taken"
    ended = time.monotonic()
    assert status(victim.here) == open_to, f"{name}: the next request at the same instance"
    while (found := status(there)) == 200:
        assert time.monotonic() - ended < 20, f"{name} was never heard of"
        time.sleep(0.02)
    took = time.monotonic() - ended
    assert found == open_to
    return took


IN_THE_ADMIN = (
    "password change",
    "password reset",
    "deletion",
    "administrator ends all of a user",
    "administrator sets a password",
    "deactivation",
    "demotion from staff",
    "end all others",
)


def test_admin_sessions_end_everywhere_in_time(
    fleet: Fleet, database: psycopg.Connection[Any], administrator: Pages
) -> None:
    victims: dict[str, Victim] = {}

    def closed(names: Iterable[str]) -> dict[str, float]:
        victims.update({name: victim_of(fleet, database) for name in names})
        return at_a_time(closed_after, names)

    def closed_after(name: str) -> float:
        pages = victims[name].pages.elsewhere(fleet.webs[1].url)
        assert pages.get("/admin/") == 200
        assert ENDS[name](victims[name], administrator), f"{name} was not taken"
        ended = time.monotonic()
        wait_until(
            lambda: pages.get("/admin/") == 302, seconds=20, what=f"the admin to refuse the session after: {name}"
        )
        return time.monotonic() - ended

    assert not late_again(closed, IN_THE_ADMIN)


def at_a_time(seconds: Callable[[str], float], names: Iterable[str]) -> dict[str, float]:
    """Return the function's result for each item, a few of them in parallel: most of the time is waiting."""
    with ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        return dict(zip(names, pool.map(seconds, names), strict=True))


def test_refresh_without_postgresql_is_503_and_keeps_tokens(fleet: Fleet, own_stack: Stack) -> None:
    credentials = registered(fleet.webs[0].url)
    tokens = signed_in(fleet.webs[0].url, credentials)
    with postgresql_stopped(own_stack):
        for web in fleet.webs * 2:
            answer = refreshed(web.url, tokens["refresh"])
            assert (answer.status, problem(answer)) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
    wait_until(
        lambda: refreshed(fleet.webs[0].url, tokens["refresh"]).status == 200, seconds=15, what="the same token to do"
    )


def test_refreshing_survives_a_postgresql_outage(fleet: Fleet, own_stack: Stack) -> None:
    """Also when a response was lost after its commit: the previous token gets the same response again."""
    here, there = (web.url for web in fleet.webs)
    people = [signed_in(here, registered(here)) for _ in range(4)]
    done = threading.Event()

    def refresh_on(tokens: dict[str, Any]) -> list[int]:
        seen, number = [], 0
        while not done.is_set() or seen[-1] != 200:
            answer = refreshed((here, there)[number % 2], tokens["refresh"])
            number += 1
            seen.append(answer.status)
            if answer.status == 200:
                tokens = answer.json()
            else:
                assert answer.headers.get("retry-after"), answer.content
                time.sleep(0.2)
            assert number < 10_000
        return seen

    with ThreadPoolExecutor(len(people)) as pool:
        seen = [pool.submit(refresh_on, tokens) for tokens in people]
        time.sleep(0.5)
        own_stack.restart("postgresql")
        time.sleep(2)
        done.set()
        statuses = [future.result(timeout=60) for future in seen]
    assert {status for each in statuses for status in each} <= {200, 503}, statuses
    assert all(each[-1] == 200 for each in statuses)
