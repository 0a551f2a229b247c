"""Tokens on two processes of eight threads: parallel refreshes, replays, and the rollout of a key."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest

from tests.clients import AGENT, PASSWORD, bearer, problem, refreshed, registered, signed_in
from tests.fleet import Answer, ask, fleet_running
from tests.processes import ROOT
from tests.races import at_once
from tools.fleet import Fleet
from tools.stack import Stack

pytestmark = pytest.mark.timeout(300)

USES, GRACE = 20, 6.0
WIDE = {f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that JWT_KEYS_FILE names."""
    path = tmp_path_factory.mktemp("keys") / "ring"
    key = {"kid": "first", "key": secrets.token_urlsafe(48), "sign_from": "2020-01-01T00:00:00Z"}
    path.write_text(json.dumps([key]))
    return path


@pytest.fixture(scope="module")
def fleet(stack: Stack, ring: Path) -> Iterator[Fleet]:
    """Start two instances of one process with eight threads, and address each of them directly."""
    more = {"WEB_THREADS": "8", "JWT_KEYS": "", "JWT_KEYS_FILE": str(ring), "REFRESH_GRACE_SECONDS": f"{GRACE:g}"}
    with fleet_running(stack, edge=False, **more, **WIDE) as fleet:
        yield fleet


@pytest.fixture
def database(fleet: Fleet) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"], autocommit=True) as connection:
        yield connection


def me(fleet: Fleet, access: str, *, at: int = 0) -> int:
    return ask(fleet.webs[at].url, "/api/v1/me", headers=bearer({"access": access})).status


def used_at_once(fleet: Fleet, token: str, *, agents: Sequence[str]) -> list[Answer]:
    """Return the responses to parallel uses of one token, alternating between the two processes."""

    def used(number: int) -> Answer:
        return refreshed(fleet.webs[number % 2].url, token, agent=agents[number])

    return at_once(len(agents), used)


def test_twenty_parallel_uses_get_one_successor(fleet: Fleet, database: psycopg.Connection[Any], soak: bool) -> None:
    tokens = signed_in(fleet.webs[0].url, registered(fleet.webs[0].url))
    for _ in range(50 if soak else 5):
        used = tokens["refresh"]
        answers = used_at_once(fleet, used, agents=[AGENT] * USES)
        assert [answer.status for answer in answers] == [200] * USES, Counter(map(problem, answers))
        assert len({answer.json()["refresh"] for answer in answers}) == 1
        tokens = answers[-1].json()
        row = database.execute(
            "SELECT current_id::text, previous_id::text, ended_at FROM accounts_session WHERE id = %s",
            [tokens["session"]],
        ).fetchone()
        assert row == (jti(tokens["refresh"]), jti(used), None)
    assert all(me(fleet, tokens["access"], at=at) == 200 for at in (0, 1))


def test_twenty_parallel_thieves_end_the_session(fleet: Fleet, database: psycopg.Connection[Any], soak: bool) -> None:
    credentials = registered(fleet.webs[0].url)
    for _ in range(50 if soak else 5):
        tokens = signed_in(fleet.webs[0].url, credentials)
        answers = used_at_once(fleet, tokens["refresh"], agents=[f"thief/{number}" for number in range(USES)])
        assert Counter(map(problem, answers)) == {"": 1, "token-reused": 1, "token-refused": USES - 2}
        winner = next(answer.json() for answer in answers if answer.status == 200)
        assert [refreshed(fleet.webs[at].url, winner["refresh"]).status for at in (0, 1)] == [401, 401]
        counts = database.execute(
            "SELECT (SELECT count(*) FROM accounts_securityevent WHERE kind = 'token-reused' AND session_id = f.id),"
            " (SELECT count(*) FROM jobs_job WHERE kind = 'accounts.mail' AND parameters ->> 'template' = 'token-reused'"
            "  AND parameters ->> 'user_id' = f.user_id::text AND created_at >= f.created_at), f.ended_reason"
            " FROM accounts_session f WHERE f.id = %s",
            [winner["session"]],
        ).fetchone()
        assert counts == (1, 1, "reuse")


@pytest.mark.parametrize("replayed", ["the parent after the grace", "the grandparent"])
def test_replay_ends_the_successor_at_its_next_use(fleet: Fleet, replayed: str) -> None:
    tokens = signed_in(fleet.webs[0].url, registered(fleet.webs[0].url))
    stolen = tokens["refresh"]
    latest = refreshed(fleet.webs[0].url, stolen).json()
    if replayed == "the grandparent":
        latest = refreshed(fleet.webs[1].url, latest["refresh"]).json()
    else:
        time.sleep(GRACE + 0.2)
    assert [me(fleet, latest["access"], at=at) for at in (0, 1)] == [200, 200]
    answer = refreshed(fleet.webs[0].url, stolen)
    assert (answer.status, problem(answer)) == (401, "token-reused")
    assert me(fleet, latest["access"], at=0) == 401
    assert problem(refreshed(fleet.webs[1].url, latest["refresh"])) == "token-refused"
    time.sleep(1.1)  # SESSION_CHECK_SECONDS: the other process may have a cached check
    assert me(fleet, latest["access"], at=1) == 401


@pytest.mark.parametrize("end", ["logout", "password change"])
def test_tokens_of_ended_sessions_are_no_reuse(fleet: Fleet, end: str) -> None:
    credentials = registered(fleet.webs[0].url)
    tokens = signed_in(fleet.webs[0].url, credentials)
    latest = refreshed(fleet.webs[0].url, tokens["refresh"]).json()
    path, body, status = "logout", {}, 204
    if end == "password change":
        path, body, status = "password/change", {"current_password": PASSWORD, "new_password": PASSWORD[::-1]}, 200
    done = ask(fleet.webs[0].url, f"/api/v1/auth/{path}", method="POST", body=body, headers=bearer(latest))
    assert done.status == status, done.content
    for token in (tokens["refresh"], latest["refresh"]):
        for at in (0, 1):
            assert problem(refreshed(fleet.webs[at].url, token)) == "token-refused"


def test_key_rollout_refuses_nobody(fleet: Fleet, ring: Path) -> None:
    """Rotate the keys, then restart one instance after the other. Each accepts the other's tokens at every step."""
    credentials = registered(fleet.webs[0].url)
    pairs = [signed_in(fleet.webs[at].url, credentials) for at in (0, 1)]
    (old,) = {kid(tokens["access"]) for tokens in pairs}
    rotated = subprocess.run(
        [sys.executable, "manage.py", "rotate_keys"],
        cwd=ROOT,
        env=fleet.webs[0].environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rotated.returncode == 0, rotated.stderr
    ring.write_text(rotated.stdout)
    entries = json.loads(rotated.stdout)
    assert [entry["kid"] for entry in entries[:-1]] == [old]
    new = entries[-1]["kid"]

    pairs = everybody_is_let_in(fleet, credentials, pairs)
    restart(fleet, 1)  # the other one does not have the new key yet
    pairs = everybody_is_let_in(fleet, credentials, pairs)
    restart(fleet, 0)
    pairs = everybody_is_let_in(fleet, credentials, pairs)
    assert [kid(tokens["refresh"]) for tokens in pairs] == [old, old], "the new key signed too early"

    # Ten minutes have passed by one instance's clock, but not by the other's.
    entries[-1]["sign_from"] = datetime.now(UTC).isoformat()
    ring.write_text(json.dumps(entries))
    restart(fleet, 1)
    pairs = everybody_is_let_in(fleet, credentials, pairs)
    assert {kid(tokens["refresh"]) for tokens in pairs} == {old, new}
    restart(fleet, 0)
    pairs = everybody_is_let_in(fleet, credentials, pairs)
    assert [kid(tokens["refresh"]) for tokens in pairs] == [new, new]


def everybody_is_let_in(fleet: Fleet, credentials: dict[str, str], pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Use all tokens at both instances; return a pair signed by each."""
    found = []
    for at, tokens in enumerate([*pairs, *(signed_in(fleet.webs[at].url, credentials) for at in (0, 1))]):
        here, there = at % 2, 1 - at % 2
        assert [me(fleet, tokens["access"], at=here), me(fleet, tokens["access"], at=there)] == [200, 200]
        first = refreshed(fleet.webs[there].url, tokens["refresh"])
        again = refreshed(fleet.webs[here].url, tokens["refresh"])  # the other instance's response was lost
        assert (first.status, again.status) == (200, 200), (first.content, again.content)
        assert first.json()["refresh"] == again.json()["refresh"]
        assert [me(fleet, answer.json()["access"], at=here) for answer in (first, again)] == [200, 200]
        found.append(again.json())
    return found[-2:]


def restart(fleet: Fleet, at: int) -> None:
    fleet.webs[at].stop()
    fleet.webs[at].start()


def jti(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])
