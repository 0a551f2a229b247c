"""Imports with PgBouncer between web processes and PostgreSQL. Workers connect directly."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.clients import bearer, registered, signed_in
from tests.fleet import ask, fleet_on
from tests.pgbouncer import PgBouncer
from tests.processes import wait_until
from tools.fleet import Fleet
from tools.stack import Stack

ROWS = 3_000


@pytest.fixture(scope="module")
def fleet(own_stack: Stack, pgbouncer: PgBouncer) -> Iterator[Fleet]:
    """Return one instance and a worker."""
    wide = {"DATABASE_PGBOUNCER": pgbouncer.url, "THROTTLE_USER": "1000000/15m"}
    with fleet_on(own_stack.state.urls, instances=1, worker=True, **wide) as fleet:
        yield fleet


def test_two_files_are_imported_at_once(fleet: Fleet, own_stack: Stack, pgbouncer: PgBouncer) -> None:
    url = fleet.webs[0].url
    headers = bearer(signed_in(url, registered(url)))

    def send(name: str) -> str:
        rows = "".join(f"{name} {number},<p>x</p>,{name}\n" for number in range(ROWS))
        form = encode_multipart(BOUNDARY, {"file": SimpleUploadedFile("rows.csv", f"title,body,tags\n{rows}".encode())})
        typed = {**headers, "Content-Type": MULTIPART_CONTENT}
        sent = ask(url, "/api/v1/articles/imports", method="POST", body=form, headers=typed)
        assert sent.status == 202, sent.content
        return f"/api/v1/jobs/{sent.json()['id']}"

    with ThreadPoolExecutor(4) as threads:
        jobs = list(threads.map(send, ("one", "two", "three", "four")))
    for job in jobs:
        wait_until(
            lambda job=job: ask(url, job, headers=headers).json()["state"] not in ("queued", "running", "retryable"),
            seconds=60,
            what="an import to end",
        )
        result = ask(url, job, headers=headers).json()["result"]
        assert (result["rows"], result["created"]) == (ROWS, ROWS)
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM articles_article").fetchone() == (4 * ROWS,)
    assert pgbouncer.left_behind() == []
