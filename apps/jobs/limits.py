"""Limits of one attempt: its memory and its time.

Inside the process, a resource limit ends the attempt with a ``MemoryError``. From outside, the supervisor kills a process that
evades it: with child processes, with memory that is not counted, or by reaching no checkpoint.
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
    """Allow this process ``mib`` more private memory than it uses now (RLIMIT_DATA of Linux; no limit elsewhere)."""
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
    """Return whether Celery will replace this process after its message, because it has used too much memory."""
    return mem_rss() > settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD


def time_exceeded(*, kind: str, seconds: float) -> str | None:
    """Return why an attempt that has run for ``seconds`` must end; None if it is within its kind's time."""
    limits = kind_named(kind)
    if limits is None or seconds <= limits.seconds:
        return None
    return f"The attempt took longer than {limits.seconds:g} s and reached no checkpoint."


def memory_exceeded(*, runner: str, kind: str) -> str | None:
    """Return why a process must end; None if it is within its kind's memory, on top of that of an idle pool process."""
    process, limits = runner_process(runner), kind_named(kind)
    if process is None or limits is None:
        return None
    used = _memory_used(process) // MIB
    if used > limits.memory_mib + settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD // 1024:
        return f"The attempt used {used} MiB; the limit of its kind is {limits.memory_mib} MiB."
    return None


def runner_kill(runner: str) -> None:
    """Kill a pool process and its descendants."""
    process = runner_process(runner)
    for one in _family(process) if process else []:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def _memory_used(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its descendants."""
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
