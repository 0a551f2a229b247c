"""Names for processes that no restart gives twice: a process id alone comes again, in a container at once."""

import os
import socket

import psutil
from billiard.process import current_process


def worker_identity() -> str:
    """Name the worker's main process, from within it or from one of its pool processes."""
    pid = os.getpid() if current_process().name == "MainProcess" else os.getppid()
    return f"{socket.gethostname()}/{_named(psutil.Process(pid))}"


def runner_identity() -> str:
    """Name this process, which computes."""
    return _named(psutil.Process())


def runner_lives(runner: str) -> bool:
    """Whether a process of this machine that was named so still runs."""
    pid = int(runner.partition("-")[0])
    try:
        process = psutil.Process(pid)
        return _named(process) == runner and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _named(process: psutil.Process) -> str:
    return f"{process.pid}-{process.create_time():.2f}"
