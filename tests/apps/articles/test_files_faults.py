"""Files of jobs under faults: a worker on another disk, one that is killed in mid-export, readers who do not read."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from apps.operations.fleet import ROOT, Fleet, Service, procfile_line
from apps.operations.stack import Stack
from apps.operations.stack.processes import process_start, process_stop
from tests.faults.submitters import Owner
from tests.fleet import fleet_running
from tests.processes import wait_until

ROWS = 20_000
FILL = """
INSERT INTO articles_article
    (id, slug, title, body, summary, tags, author_id, published_at, created_at, updated_at, version)
SELECT gen_random_uuid(), 'slug-' || n, 'Title ' || n, repeat('words and more ', 60), '', ARRAY['sea'], NULL,
    now() - n * interval '1 second', now(), now(), 1
FROM generate_series(1, %s) AS n
"""


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(
        stack,
        worker=True,
        edge=False,
        instances=1,
        DJANGO_SETTINGS_MODULE="tests.faults.settings",
        WEB_CONCURRENCY="1",
        WEB_THREADS="8",
    ) as fleet:
        assert fleet.worker is not None
        with psycopg.connect(fleet.worker.environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(FILL, [ROWS])
        yield fleet


@pytest.fixture(scope="module")
def owner(fleet: Fleet) -> Owner:
    return Owner(fleet)


@pytest.fixture
def worker(fleet: Fleet) -> Service:
    assert fleet.worker is not None
    return fleet.worker


def submit(owner: Owner) -> str:
    answer = owner.ask("/api/v1/articles/exports", method="POST", body={"format": "ndjson"})
    assert answer.status == 202, answer
    return str(answer.json()["id"])


def under_way(owner: Owner, job_id: str) -> dict[str, Any]:
    """Wait until some of the file has been written, and give the job."""
    wait_until(lambda: owner.job(job_id)["progress"]["done"] > 0, seconds=30, what="the first block")
    return owner.job(job_id)


def test_a_killed_worker_leaves_a_file_that_the_next_one_completes(owner: Owner, worker: Service) -> None:
    job_id = submit(owner)
    before = under_way(owner, job_id)
    worker.kill()
    assert owner.ask(f"/api/v1/jobs/{job_id}/result").status == 409  # nobody sees half a file
    worker.start()
    job = owner.wait(job_id, "succeeded", "failed")
    assert before["state"] == "running", "the export was over before it could be hurt"
    assert job["result"] == {"rows": ROWS, "format": "ndjson"}
    slugs = [json.loads(line)["slug"] for line in owner.ask(job["result_url"]).content.splitlines()]
    assert len(slugs) == len(set(slugs)) == ROWS


def test_a_running_export_is_cancelled_within_seconds(owner: Owner) -> None:
    job_id = submit(owner)
    assert under_way(owner, job_id)["state"] == "running"
    asked = time.monotonic()
    owner.ask(f"/api/v1/jobs/{job_id}", method="DELETE")
    owner.wait(job_id, "cancelled")
    assert time.monotonic() - asked < 10
    assert owner.ask(f"/api/v1/jobs/{job_id}/result").status == 409


def test_who_does_not_read_holds_some_threads_and_the_service_goes_on(owner: Owner) -> None:
    job = owner.wait(submit(owner), "succeeded")
    parts = urlsplit(owner.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in owner.headers.items())
    request = f"GET {job['result_url']} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n{head}\r\n".encode()
    with ExitStack() as stack:
        statuses = []
        for _ in range(8):  # as many as there are threads
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(20)
            reader.connect((parts.hostname, parts.port))
            reader.sendall(request)
            statuses.append(reader.recv(12)[-3:])
        assert statuses == [b"200"] * 2 + [b"503"] * 6  # a quarter of the threads, for one account
        for _ in range(8):
            assert owner.ask("/api/v1/jobs?limit=1").status == 200
        # They stay connected, and are given up.
        wait_until(lambda: owner.ask(job["result_url"]).status == 200, seconds=60, what="the places to be given back")


def test_a_worker_on_another_disk_reads_the_upload(owner: Owner, worker: Service, tmp_path: Path) -> None:
    """Another folder to work in, another one for temporary files: nothing of the upload is in files."""
    worker.stop()
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    environment = worker.environment | {"PYTHONPATH": str(ROOT), "TMPDIR": str(elsewhere)}
    command = ["/bin/sh", "-c", f"exec {procfile_line('worker')}"]
    boundary, rows = "b0undary", "".join(f"Row {number},text\n" for number in range(50))
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n'
        f"Content-Type: text/csv\r\n\r\ntitle,body\n{rows}\r\n--{boundary}--\r\n"
    ).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = owner.ask("/api/v1/articles/imports", method="POST", body=body, headers=headers)
    assert answer.status == 202, answer
    process = process_start(command, log=tmp_path / "worker.log", folder=tmp_path, environment=environment)
    try:
        done = owner.wait(answer.json()["id"], "succeeded", "failed")
        assert (done["state"], done["result"]["created"]) == ("succeeded", 50), done
    finally:
        process_stop(process, signals=((signal.SIGTERM, 20.0),))
        worker.start()
