"""Commands without PostgreSQL: one line that names the server and says what to do, no traceback and no secret."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.commands import Commands, commands_in

SECRET = "correcthorsebattery"
URL = f"postgresql://somebody:{SECRET}@127.0.0.1:1/nowhere"
COMMANDS = {
    "migrate": ["migrate"],
    "createsuperuser": ["createsuperuser", "--noinput", "--email", "a@example.com"],
    "flush": ["flush", "--noinput"],
    "showmigrations": ["showmigrations"],
    "prune": ["prune"],
}


@pytest.fixture(scope="module")
def ran() -> Iterator[Commands]:
    environment = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "PATH", "TMPDIR")}
    environment |= {"DJANGO_ENV": "dev", "DATABASE_URL": URL, "REDIS_URL": "redis://127.0.0.1:1"}
    with commands_in(environment) as run:
        yield run


@pytest.mark.parametrize("name", COMMANDS)
def test_one_line_instead_of_a_traceback(ran: Commands, name: str) -> None:
    done = ran(*COMMANDS[name])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    reports = [line for line in done.stderr.splitlines() if "127.0.0.1" in line]
    assert len(reports) == 1, done.stderr
    assert "bin/dev" in reports[0]
    assert done.stderr.strip().splitlines()[-1] == reports[0]


def test_traceback_on_request(ran: Commands) -> None:
    done = ran("migrate", "--traceback")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert SECRET not in done.stderr


def test_other_failures_keep_their_traceback(ran: Commands) -> None:
    done = ran("shell", "-c", "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
