"""database (130): keyset pages without gap or repeat, bounded, projected; a server too slow or frozen holds nobody up."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from tools.prove.client import Answer, Client
from tools.prove.ground import Evidence, Ground, wait_until

ROWS = 12
LIMIT = 5
CROWD = 24  # requests at once: more than the connections of all pools
REFUSED_SECONDS = 4.0  # the promise is 2; the rest is for a busy machine
BACK_SECONDS = 6.0  # the promise is 3


def prove(ground: Ground) -> Evidence:
    """This function will walk a list page by page while it grows, then ask for too much and for too long."""
    client = ground.stranger()
    account = ground.account(client)
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
    cached, refused, back = _frozen(ground, f"/api/v1/sample/notes/{next(iter(titles))}")
    slowest = max((answer.seconds for answer in refused), default=float("inf"))
    missed, repeated = len(titles - set(seen)), len(seen) - len(set(seen))
    return Evidence(
        did=(
            f"walked a growing list by {LIMIT}, asked for 1,000 rows, and for a statement of 12 s; "
            f"froze PostgreSQL (SIGSTOP) under {CROWD} requests"
        ),
        saw=(
            f"{pages} pages, {missed} rows missed, {repeated} repeated, columns {sorted(shapes)}; limit=1000 is "
            f"{too_many.status}; the statement cut off after {too_long.seconds:.1f} s with {too_long.status}, "
            f"Retry-After {too_long.headers.get('Retry-After', 'absent')}; frozen: the cached note is {cached.status}, the next "
            f"{len(refused)} requests are {sorted({answer.status for answer in refused})} within {slowest:.1f} s; "
            f"{'not served again' if back is None else f'served again {back:.1f} s'} after its return"
        ),
        holds=(
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


def _frozen(ground: Ground, note: str) -> tuple[Answer, list[Answer], float | None]:
    """Freeze the server: a cached answer meanwhile, answers to those who come then, seconds until it serves again."""
    client, path = ground.stranger(), "/api/v1/sample/notes/slow?seconds=0"
    client.get(note)
    with ThreadPoolExecutor(CROWD) as pool:
        with _server_stopped(ground):
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
def _server_stopped(ground: Ground) -> Iterator[None]:
    """Freeze PostgreSQL and its backends: the kernel goes on accepting and acknowledging for them."""
    server = psutil.Process(ground.stack.state.pids["postgresql"])
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
