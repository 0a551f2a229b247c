"""Names of processes, unique across restarts, and state that a worker's processes share.

A process id alone is not unique: the system reuses it, in a container at once.
"""

import mmap
import os
import socket
from functools import cache
from pathlib import Path

import psutil
from billiard.process import current_process

_STOPPING = mmap.mmap(-1, 1)  # anonymous shared memory, which forked pool processes inherit

_unreserved_limit: int | None = None


def stopping_set() -> None:
    """Record for all processes of this worker that it is stopping and claims no more jobs."""
    _STOPPING[0] = 1


def is_stopping() -> bool:
    return _STOPPING[0] == 1


def unreserved_limit_set(limit: int | None) -> None:
    """Set how many jobs outside the reserved queue this worker may run. Call it before the pool forks."""
    global _unreserved_limit
    _unreserved_limit = limit


def unreserved_limit() -> int | None:
    """Return how many jobs outside the reserved queue this worker may run; None: any number."""
    return _unreserved_limit


def worker_identity() -> str:
    """Return the name of the worker's main process. Works there and in its pool processes."""
    pid = os.getpid() if current_process().name == "MainProcess" else os.getppid()
    return f"{socket.gethostname()}/{_name(pid)}"


def runner_identity() -> str:
    return _name(os.getpid())


def runner_process(runner: str) -> psutil.Process | None:
    """Return the process with this name on this machine; None if it has ended."""
    try:
        process = psutil.Process(int(runner.partition("-")[0]))
        if _named(process) == runner and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        return None
    return None


@cache
def _name(pid: int) -> str:
    """Return the name of this process or its parent; cached, as it cannot change while this process lives."""
    return _named(psutil.Process(pid))


def _named(process: psutil.Process) -> str:
    return f"{process.pid}-{_started(process)}"


def _started(process: psutil.Process) -> str:
    """Return the start time: on Linux in ticks since the boot, because the clock may be set while processes run."""
    if not psutil.LINUX:
        return f"{process.create_time():.2f}"
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(process.pid) from error
