"""What one attempt may use: memory while it asks for it, and, looked at from outside, memory and time.

The bound on memory makes an allocation fail, so the attempt ends with a ``MemoryError`` and its process lives on. What gets
round it (a process of its own, memory that no allocator counts, a computation that reaches no checkpoint) is seen by the
supervisor, which kills the one process that does it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from billiard.compat import mem_rss
from django.conf import settings

from apps.jobs.kinds import kind_named
from apps.jobs.processes import runner_process

MIB = 1024**2


@contextmanager
def memory_bound(mib: int) -> Iterator[None]:
    """Let this process use so much more private memory than it does (Linux's RLIMIT_DATA; nothing elsewhere)."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    bound = psutil.Process().memory_info().data + mib * MIB
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def needs_replacement() -> bool:
    """Whether this process once held so much that Celery replaces it after its message: it begins no other job."""
    return mem_rss() > settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD


def time_exceeded(*, kind: str, seconds: float) -> str | None:
    """Say that an attempt which has run for so many seconds has taken longer than its kind may; None when it has not."""
    limits = kind_named(kind)
    if limits is None or seconds <= limits.seconds:
        return None
    return f"It took longer than {limits.seconds:g} s and reached no checkpoint."


def memory_exceeded(*, runner: str, kind: str) -> str | None:
    """Say that a process uses more than its kind may, above what an idle pool process may hold; None when it does not."""
    process, limits = runner_process(runner), kind_named(kind)
    if process is None or limits is None:
        return None
    used = _memory_used(process) // MIB
    if used > limits.memory_mib + settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD // 1024:
        return f"It used {used} MiB, of {limits.memory_mib} that its kind may."
    return None


def runner_kill(runner: str) -> None:
    """Kill a pool process and whatever it started."""
    process = runner_process(runner)
    for one in _family(process) if process else []:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def _memory_used(process: psutil.Process) -> int:
    """Bytes in memory of a process and whatever it started."""
    total = 0
    for one in _family(process):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
