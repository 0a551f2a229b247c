"""database: keyset pages without gaps or repeats, bounded and projected; a slow or frozen server blocks no request."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from tools.prove.client import Answer, Client
from tools.prove.sandbox import Result, Sandbox, wait_until

ROWS = 12
LIMIT = 5
CROWD = 24  # requests at once: more than the connections of all pools
REFUSED_SECONDS = 4.0  # the promise is 2; the rest is for a busy machine
BACK_SECONDS = 6.0  # the promise is 3


def prove(sandbox: Sandbox) -> Result:
    """Page through a list while it grows, then ask for too many rows, for too long a statement, and from a frozen server."""
    client = sandbox.client()
    account = sandbox.account(client)
    titles = {_note(client, account.access, f"Row {number}") for number in range(ROWS)}
    seen: list[str] = []
    path: str | None = f"/api/v1/sample/notes?limit={LIMIT}&fields=id,title"
    pages = 0
    shapes: set[tuple[str, ...]] = set()
    while path and pages < 100:
        page = client.get(path, token=account.access).json()
        seen += [row["id"] for row in page["results"]]
        shapes |= {tuple(row) for row in page["results"]}
        path = page["next"]
        pages += 1
        if pages == 1:
            _note(client, account.access, "Written during the walk")
    too_many = client.get("/api/v1/sample/notes?limit=1000")
    too_long = client.get("/api/v1/sample/notes/slow?seconds=12")
    cached, refused, back = _frozen(sandbox, f"/api/v1/sample/notes/{next(iter(titles))}")
    slowest = max((answer.seconds for answer in refused), default=float("inf"))
    missed, repeated = len(titles - set(seen)), len(seen) - len(set(seen))
    return Result(
        did=(
            f"paged through a growing list, {LIMIT} rows at a time; asked for 1,000 rows, and for a statement of 12 s; "
            f"froze PostgreSQL (SIGSTOP) during {CROWD} requests"
        ),
        saw=(
            f"{pages} pages, {missed} rows missed, {repeated} repeated, columns {sorted(shapes)}; limit=1000 is "
            f"{too_many.status}; the statement was cancelled after {too_long.seconds:.1f} s with {too_long.status}, "
            f"Retry-After {too_long.headers.get('Retry-After', 'absent')}; frozen: the cached note is {cached.status}, the next "
            f"{len(refused)} requests are {sorted({answer.status for answer in refused})} within {slowest:.1f} s; "
            f"{'not serving again' if back is None else f'serving again {back:.1f} s'} after it went on"
        ),
        passed=(
            missed == repeated == 0
            and shapes == {("id", "title")}
            and too_many.status == 400
            and too_long.status in (503, 504)
            and "Retry-After" in too_long.headers
            and too_long.seconds < 11
            and cached.status == 200
            and all(answer.status == 503 and "Retry-After" in answer.headers for answer in refused)
            and slowest < REFUSED_SECONDS
            and back is not None
        ),
    )


def _frozen(sandbox: Sandbox, note: str) -> tuple[Answer, list[Answer], float | None]:
    """Freeze PostgreSQL. Return a cached answer and the refusals of that time, and the seconds until it served again."""
    client, path = sandbox.client(), "/api/v1/sample/notes/slow?seconds=0"
    client.get(note)
    with ThreadPoolExecutor(CROWD) as pool:
        with _server_stopped(sandbox):
            crowd = [pool.submit(client.get, path) for _ in range(CROWD)]
            time.sleep(2.5)
            refused = list(pool.map(client.get, [path] * 6))
            cached = client.get(note)
        started = time.monotonic()
        back = wait_until(lambda: client.get(path).status == 200 or None, seconds=BACK_SECONDS)
        seconds = time.monotonic() - started
        for waiting in crowd:
            waiting.result()
    return cached, refused, seconds if back else None


@contextlib.contextmanager
def _server_stopped(sandbox: Sandbox) -> Iterator[None]:
    """Freeze PostgreSQL and its backends, while the kernel goes on to accept and acknowledge for them."""
    server = psutil.Process(sandbox.stack.state.pids["postgresql"])
    frozen = [process.pid for process in (server, *server.children(recursive=True))]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _note(client: Client, token: str, title: str) -> str:
    answer = client.post("/api/v1/sample/notes", {"title": title, "body": "<p>Row</p>", "published": True}, token=token)
    return str(answer.json()["id"])
