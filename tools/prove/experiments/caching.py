"""caching (128): a hit, a 304, a write that shows, and answers while Redis hangs."""

import os
import signal

from tools.prove.ground import Evidence, Ground, wait_until

STALE_SECONDS = 5.0  # the promise is CACHE_LOCAL_SECONDS (1); the rest is for a busy machine


def prove(ground: Ground) -> Evidence:
    """This function will ask one public list four ways and compare what the cache said."""
    reader, writer = ground.stranger(), ground.stranger()
    account = ground.account(writer)
    reader.get("/api/v1/sample/notes")
    again = [reader.get("/api/v1/sample/notes") for _ in range(4)][-1]
    hit = "hit" in again.headers.get("Cache-Status", "")
    unchanged = reader.get("/api/v1/sample/notes", headers={"If-None-Match": again.headers.get("ETag", "none")})
    title = f"Written by {account.email}"
    written = writer.post(
        "/api/v1/sample/notes", {"title": title, "body": "<p>New</p>", "published": True}, token=account.access
    )

    def shown() -> float | None:
        answer = reader.get("/api/v1/sample/notes")
        return answer.seconds if title in answer.body.decode() else None

    seen = wait_until(shown, seconds=STALE_SECONDS) is not None
    slowest, served = _with_redis_hung(ground)
    return Evidence(
        did="read a public list twice, asked again with its ETag, wrote to it, read it with Redis stopped dead (SIGSTOP)",
        saw=(
            f"Cache-Status {again.headers.get('Cache-Status', 'absent')!r}; {unchanged.status} with {len(unchanged.body)} "
            f"bytes; the write ({written.status}) {'shown' if seen else 'not shown'} within {STALE_SECONDS:g} s; "
            f"{served} of 10 reads answered without Redis, the slowest in {slowest:.2f} s"
        ),
        holds=hit and unchanged.status == 304 and not unchanged.body and seen and served == 10 and slowest < 5,
    )


def _with_redis_hung(ground: Ground) -> tuple[float, int]:
    """The slowest of ten reads, and how many were answered 200, while the Redis server does not run but accepts."""
    reader = ground.stranger()
    server = ground.stack.state.pids["redis"]
    os.kill(server, signal.SIGSTOP)
    try:
        answers = [reader.get("/api/v1/sample/notes") for _ in range(10)]
    finally:
        os.kill(server, signal.SIGCONT)
    return max(answer.seconds for answer in answers), sum(answer.status == 200 for answer in answers)
