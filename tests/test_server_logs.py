"""The search for secrets in the logs of the suite's servers, which tests/conftest.py runs at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.hashers import make_password

from apps.practices.observability.logs import Stderr
from tests.secrets import FLEET_PASSWORD, MARKER, PASSWORD, ServerLogs, secret_note

SECRETS = {
    "a password": f"login of {PASSWORD}",
    "a password of a fleet": f"login of {FLEET_PASSWORD}",
    "a hash": f"UPDATE … '{make_password('x')}'",
    "a token": "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAA",
    "a draft": f"DETAIL: {MARKER}",
    "a key of the environment": "key a-secret-of-this-process",
    "a password of the environment": "postgres://me:another-secret-of-it@127.0.0.1/x",
    "a key in a list": "signed with the-third-secret-of-it",
    "a mailed link": f"GET /verify#{secret_note('what-a-link-in-a-mail-holds')}",
}
ENVIRONMENT = {
    "PATH": os.defpath,
    "SECRET_KEY": "a-secret-of-this-process",
    "DATABASE_URL": "postgres://me:another-secret-of-it@127.0.0.1/x",
    "JWT_KEYS": json.dumps([{"kid": "a", "key": "the-third-secret-of-it"}]),
}


@pytest.fixture
def logs() -> Iterator[ServerLogs]:
    logs = ServerLogs()
    logs.watch()
    yield logs
    logs.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Return a log file that is empty again when the session's own check reads it."""
    path, kept = tmp_path / "web-1.log", tmp_path / "kept"
    path.touch()
    os.link(path, kept)
    yield path
    kept.write_text("")


def write(log: Path, *lines: str) -> None:
    """Start a process that writes these lines into its log."""
    program = "import sys; print(*sys.argv[1:], sep='\\n')"
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", program, *lines], stdout=output, env=ENVIRONMENT, timeout=20, check=True)


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_in_a_log_is_found_by_file_and_line(logs: ServerLogs, log: Path, text: str) -> None:
    write(log, "quiet", text)
    log.unlink()  # as a fleet removes its folder
    assert [line.partition(": ")[0] for line in logs.lines()] == [f"{log}:2"]


def test_a_process_that_is_started_again_is_one_log(logs: ServerLogs, log: Path) -> None:
    write(log, "quiet")
    write(log, SECRETS["a hash"])
    assert [line.partition(": ")[0] for line in logs.lines()] == [f"{log}:2"]


def test_a_secret_in_the_log_of_this_process_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stderr, "write", lambda *_: None)  # the session's own, which would find it as well
    logs = ServerLogs()
    logs.watch_own()
    Stderr().write(b"quiet\n")
    Stderr().write(f"login of {PASSWORD}\n".encode())
    assert [line.partition(": ")[0] for line in logs.lines()] == ["the log of this process:2"]
    logs.close()


def test_what_is_no_secret_is_not_found(logs: ServerLogs, log: Path) -> None:
    write(log, "password", "argon2", "a hash of a password: hidden", "GET /verify", '{"event":"request"}')
    assert logs.lines() == []
