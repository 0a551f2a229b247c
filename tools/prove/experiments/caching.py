"""caching: a hit, a 304, a write that becomes visible and says what it changed, and answers while Redis hangs."""

import os
import signal

from tools.prove.client import Answer
from tools.prove.sandbox import Result, Sandbox, wait_until

STALE_SECONDS = 5.0  # the promise is CACHE_LOCAL_SECONDS (1); the rest is for a busy machine


def prove(sandbox: Sandbox) -> Result:
    """Read one public list in four ways and compare what the cache reports."""
    reader, writer = sandbox.client(), sandbox.client()
    account = sandbox.account(writer)
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
    named = _members(again, "Cache-Groups") & _members(written, "Cache-Group-Invalidation")
    slowest, served = _with_redis_hung(sandbox)
    return Result(
        did="read a public list twice, then with its ETag, wrote to it, and read it while Redis was frozen (SIGSTOP)",
        saw=(
            f"Cache-Status {again.headers.get('Cache-Status', 'absent')!r}; {unchanged.status} with {len(unchanged.body)} "
            f"bytes; the write ({written.status}) {'visible' if seen else 'not visible'} within {STALE_SECONDS:g} s, and named "
            f"{len(named)} of the list's cache groups; "
            f"{served} of 10 reads answered without Redis, the slowest in {slowest:.2f} s"
        ),
        passed=all([hit, unchanged.status == 304, not unchanged.body, seen, named, served == 10, slowest < 5]),
    )


def _members(answer: Answer, name: str) -> set[str]:
    """Return the members of a list field (RFC 9651)."""
    return set(filter(None, answer.headers.get(name, "").split(", ")))


def _with_redis_hung(sandbox: Sandbox) -> tuple[float, int]:
    """Return the slowest of ten reads in seconds, and how many got 200, while Redis accepts connections but never answers."""
    reader = sandbox.client()
    server = sandbox.stack.state.pids["redis"]
    os.kill(server, signal.SIGSTOP)
    try:
        answers = [reader.get("/api/v1/sample/notes") for _ in range(10)]
    finally:
        os.kill(server, signal.SIGCONT)
    return max(answer.seconds for answer in answers), sum(answer.status == 200 for answer in answers)
