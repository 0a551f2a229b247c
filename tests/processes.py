"""Watch processes from outside: wait for what they do, and find out which are alive."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[1]


def wait_until(condition: Callable[[], object], *, seconds: float, what: str | Callable[[], str]) -> None:
    """Wait until `condition` holds; fail the test naming `what` (or what it returns by then) when time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s for {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


def alive(pids: Iterable[int]) -> list[int]:
    """Return those that run. A zombie does not: it waits only for its parent to ask."""
    running = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.append(pid)
        except psutil.NoSuchProcess:
            continue
    return running


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def script_run(script: str, stack: Stack, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, under settings.test on the stack's servers, and give what it printed.

    Raises:
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it took more than a minute.
    """
    command = [sys.executable, "-c", script]
    given = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls, **environment}
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, timeout=60, check=True, text=True)


def manage_away(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a management command as an operator does, where no server answers; raises TimeoutExpired after a minute."""
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | away, capture_output=True, timeout=60, check=False, text=True
    )


@contextlib.contextmanager
def frozen(pid: int | None) -> Iterator[None]:
    """Freeze a process and all its children: their kernel goes on accepting and acknowledging."""
    assert pid is not None, "it does not run"
    process = psutil.Process(pid)
    processes = [process, *process.children(recursive=True)]
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.suspend()
    try:
        yield
    finally:
        for one in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()


def python_for_anybody() -> str | None:
    """Return a Python that an unprivileged user can run with this environment's packages, or None."""
    candidates = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
    for candidate in candidates:
        path = Path(candidate).resolve()
        if path.exists() and all(os.stat(folder).st_mode & 0o001 for folder in path.parents):
            return str(candidate)
    return None
