"""Names for processes that no restart gives twice: a process id alone comes again, in a container at once.

And one bit that a worker's processes share: that it is being stopped.
"""

import mmap
import os
import socket
from functools import cache
from pathlib import Path

import psutil
from billiard.process import current_process

_STOPPING = mmap.mmap(-1, 1)  # anonymous and shared: what the main process writes, the pool processes it forked read

_unreserved_limit: int | None = None


def stopping_set() -> None:
    """Tell this worker's processes that it takes no more jobs."""
    _STOPPING[0] = 1


def is_stopping() -> bool:
    """Whether this worker takes no more jobs."""
    return _STOPPING[0] == 1


def unreserved_limit_set(limit: int | None) -> None:
    """Set how many jobs of other queues than the reserved one this worker may run; before the pool forks."""
    global _unreserved_limit
    _unreserved_limit = limit


def unreserved_limit() -> int | None:
    """Return how many jobs of other queues than the reserved one this worker may run; None: any number."""
    return _unreserved_limit


def worker_identity() -> str:
    """Name the worker's main process, from within it or from one of its pool processes."""
    pid = os.getpid() if current_process().name == "MainProcess" else os.getppid()
    return f"{socket.gethostname()}/{_name(pid)}"


def runner_identity() -> str:
    """Name this process, which computes."""
    return _name(os.getpid())


def runner_process(runner: str) -> psutil.Process | None:
    """The process of this machine that was named so, or None when it has ended."""
    try:
        process = psutil.Process(int(runner.partition("-")[0]))
        if _named(process) == runner and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        return None
    return None


@cache
def _name(pid: int) -> str:
    """Name this process or its parent, which have their names as long as this one lives."""
    return _named(psutil.Process(pid))


def _named(process: psutil.Process) -> str:
    return f"{process.pid}-{_started(process)}"


def _started(process: psutil.Process) -> str:
    """When it started: on Linux in ticks since the machine did, as times of day are moved while processes run."""
    if not psutil.LINUX:
        return f"{process.create_time():.2f}"
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(process.pid) from error
