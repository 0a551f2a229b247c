"""An import under bin/dev survives its worker, killed while the client polls or stopped with Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.copies import dev_start, environment_of, project_copy
from tests.fleet import ask
from tests.processes import alive, family, wait_until
from tools.stack import StackState, port_free

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]
DEMO = {"email": "demo@example.com", "password": "correct horse battery staple"}
BOUNDARY = "a-line-that-no-row-holds"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copy = project_copy(tmp_path / "project")
    (copy / ".env").write_text("DJANGO_ENV=dev\n")
    return copy


@pytest.fixture
def busy(tree: Path) -> Iterator[None]:
    """Files below var/ change all the time, as they do while the service works."""
    over = threading.Event()

    def change() -> None:
        (tree / "var").mkdir(exist_ok=True)
        while not over.wait(0.1):
            (tree / "var" / "changes.txt").write_text(str(time.monotonic()))

    thread = threading.Thread(target=change)
    thread.start()
    yield
    over.set()
    thread.join(10)


def submitted(url: str, bearer: dict[str, str], *, name: str, rows: int) -> str:
    """Submit an import of so many rows. Return the path of its job."""
    table = "title,body\n" + "".join(f"{name} {number},<p>Text</p>\n" for number in range(rows))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\nContent-Type: text/csv\r\n\r\n'
    answer = ask(
        url,
        "/api/v1/articles/imports",
        method="POST",
        body=f"{head}{table}\r\n--{BOUNDARY}--\r\n".encode(),
        headers={**bearer, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert answer.status == 202, answer.content
    return f"/api/v1/jobs/{answer.json()['id']}"


def worker_of(dev: subprocess.Popen[str]) -> psutil.Process | None:
    """Return the worker's main process: Celery's, started by bin/dev itself."""
    for process in psutil.Process(dev.pid).children():
        if process.status() != psutil.STATUS_ZOMBIE and "celery" in " ".join(process.cmdline()):
            return process
    return None


def test_import_survives_its_worker(tree: Path, busy: None, tmp_path: Path) -> None:
    port = port_free()
    url, log = f"http://localhost:{port}", tmp_path / "dev.log"
    environment = environment_of(tree, {"PORT": str(port)})
    dev = dev_start(tree, environment, log)
    try:
        tokens = ask(url, "/api/v1/auth/login", method="POST", body=DEMO).json()
        bearer = {"Authorization": f"Bearer {tokens['access']}"}

        def job(path: str) -> Any:
            return ask(url, path, headers=bearer).json()

        def under_way(path: str) -> bool:
            found = job(path)
            assert found["state"] in ("queued", "running"), f"over before it could be interrupted: {found}"
            return bool(found["progress"]["done"])

        first = submitted(url, bearer, name="first", rows=30_000)
        wait_until(lambda: under_way(first), seconds=60, what="the import to be under way")
        worker = worker_of(dev)
        assert worker is not None
        for pid in family(worker.pid):  # with the processes that do its jobs: without it they would finish this one
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: job(first)["state"] == "succeeded", seconds=90, what=lambda: f"{job(first)}\n{log.read_text()}"
        )
        assert job(first)["result"]["rows"] == 30_000
        assert "ended with status -9: starting it again" in log.read_text()

        second = submitted(url, bearer, name="second", rows=60_000)
        wait_until(lambda: under_way(second), seconds=60, what="the next import to be under way")
        everyone = family(dev.pid)
        with socket.create_connection(
            ("127.0.0.1", port), timeout=4
        ) as silent:  # as browsers do, and keep it for later
            dev.send_signal(signal.SIGINT)
            assert silent.recv(1) == b"", "closed at once, not when it has been silent for 5 seconds"
            assert dev.wait(60) == 0
        assert not alive(everyone)
        assert "killed" not in log.read_text()
    finally:
        if dev.poll() is None:
            dev.terminate()
            dev.wait(30)
    assert state_of(tree, environment, second.rpartition("/")[2]) == ("queued", 0), "given back, with its attempt"


def state_of(tree: Path, environment: dict[str, str], job_id: str) -> Any:
    """Return a job's state and attempts, as PostgreSQL has them while nothing else runs."""
    with subprocess.Popen([sys.executable, "-m", "tools.stack", "up"], cwd=tree, env=environment) as servers:
        try:
            wait_until(lambda: StackState.read(tree / "var" / "stack.json"), seconds=60, what="the servers")
            state = StackState.read(tree / "var" / "stack.json")
            assert state is not None
            with psycopg.connect(state.urls["DATABASE_URL"]) as connection:
                return connection.execute("SELECT state, attempts FROM jobs_job WHERE id = %s", [job_id]).fetchone()
        finally:
            servers.terminate()
