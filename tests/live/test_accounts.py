"""An account on a real fleet: mails and an export by the worker, and a deletion whose body passes the edge."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fleet import Answer, ask, fleet_running
from tests.processes import wait_until
from tests.secrets import FLEET_PASSWORD
from tools.fleet import Fleet
from tools.stack import Stack

PASSWORD = FLEET_PASSWORD
WIDE = {f"THROTTLE_{name}": "1000000/15m" for name in ("ANON", "USER", "ADDRESS", "LOGIN")}


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mails")


@pytest.fixture(scope="module")
def fleet(stack: Stack, mails: Path) -> Iterator[Fleet]:
    with fleet_running(stack, worker=True, EMAIL_URL=f"filemail://{mails}", **WIDE) as fleet:
        yield fleet


def call(fleet: Fleet, path: str, *, access: str = "", **options: Any) -> Answer:
    """Send a request through the edge."""
    headers = {"Authorization": f"Bearer {access}"} if access else {}
    return ask(fleet.url, f"/api/v1/{path}", headers=headers, context=fleet.ssl_context(), **options)


def signed_in(fleet: Fleet, credentials: dict[str, str]) -> str:
    access: str = call(fleet, "auth/login", method="POST", body=credentials).json()["access"]
    return access


def written(mails: Path) -> str:
    return "".join(path.read_text() for path in mails.iterdir())


def test_account_registers_exports_and_is_deleted(fleet: Fleet, mails: Path) -> None:
    credentials = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    assert call(fleet, "auth/register", method="POST", body={**credentials, "name": "Ada"}).status == 201
    here, there = signed_in(fleet, credentials), signed_in(fleet, credentials)
    assert call(fleet, "sample/notes", method="POST", body={"title": "Mine"}, access=here).status == 201

    accepted = call(fleet, "me/export", method="POST", access=here)
    assert accepted.status == 202
    job = f"jobs/{accepted.json()['id']}"
    wait_until(
        lambda: call(fleet, job, access=here).json()["state"] == "succeeded", seconds=20, what="the export to be made"
    )
    lines = [json.loads(line) for line in call(fleet, f"{job}/result", access=here).content.splitlines()]
    assert [line["row"]["title"] for line in lines if line["of"] == "sample.notes"] == ["Mine"]
    assert len([line for line in lines if line["of"] == "sessions"]) == 2

    wrong = call(fleet, "me", method="DELETE", body={"password": "not the password"}, access=here)
    assert (wrong.status, wrong.json()["type"].rpartition("/")[2]) == (403, "password-wrong")
    # Both instances have just checked the other session.
    instances = [web.url for web in fleet.webs]
    other = {"Authorization": f"Bearer {there}"}
    assert [ask(url, "/api/v1/me", headers=other).status for url in instances] == [200, 200]
    gone = call(fleet, "me", method="DELETE", body={"password": PASSWORD}, access=here)
    assert (gone.status, gone.content) == (204, b"")
    wait_until(
        lambda: [ask(url, "/api/v1/me", headers=other).status for url in instances] == [401, 401],
        seconds=5,
        what="the end on both instances",
    )
    assert call(fleet, "auth/login", method="POST", body=credentials).status == 401
    wait_until(lambda: "deleted" in written(mails), seconds=20, what="the mail that tells of it")

    def rows() -> dict[str, int]:
        count = "SELECT count(*) FROM {} AS t WHERE t::text LIKE %s"
        tables = ("accounts_user", "accounts_session", "accounts_securityevent", "jobs_job", "sample_note")
        with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"]) as connection:
            return {
                table: connection.execute(count.format(table), [f"%{word}%"]).fetchone()[0]
                for table in tables
                for word in (credentials["email"], lines[0]["row"]["id"])
            }

    wait_until(lambda: not any(rows().values()), seconds=10, what=lambda: f"nothing to be left: {rows()}")
