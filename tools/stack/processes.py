"""Start and stop server processes so that none outlives the process that started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil

from .sources import StackError

_LAUNCH = Path(__file__).with_name("launch.py")
_NOBODY = 65534
_LOG_BYTES = 10 * 1024 * 1024


def port_free() -> int:
    """Return a TCP port of the loopback address that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch_command(command: Sequence[str | Path], *, user: str = "same", death: int = signal.SIGTERM) -> list[str]:
    """Return the argv that runs `command` as `user` and sends it the signal `death` when this process dies.

    Start it by a direct fork from the main thread of the calling process: the kernel sends the signal
    (PR_SET_PDEATHSIG) when the thread that forked ends.
    """
    head = [sys.executable, "-I", "-S", str(_LAUNCH), str(int(death)), str(os.getpid()), user]
    return head + [str(part) for part in command]


def process_start(
    command: Sequence[str | Path],
    *,
    log: Path,
    user: str = "same",
    death: int = signal.SIGTERM,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in its own session, so that Ctrl-C reaches only this process, with its output in `log`."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
    with log.open("ab") as output:
        return subprocess.Popen(
            launch_command(command, user=user, death=death),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder or log.parent,
            env=None if environment is None else dict(environment),
        )


def process_stop(process: subprocess.Popen[bytes], *, signals: Sequence[tuple[int, float]]) -> None:
    """Send each signal in turn and wait its seconds, then send SIGKILL. Wake a paused process first."""
    for number, seconds in signals:
        if process.poll() is not None:
            return
        process.send_signal(number)
        _wake(process.pid)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    if process.poll() is None:
        process.kill()
        process.wait(10)


def _wake(pid: int) -> None:
    """Continue a paused process and its children: a server waits for its children before it ends."""
    try:
        server = psutil.Process(pid)
        for process in (server, *server.children(recursive=True)):
            process.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return


def ready_wait(
    probe: Callable[[], bool], *, process: subprocess.Popen[bytes], name: str, log: Path, seconds: float = 60
) -> None:
    """Wait until `probe` returns True. Raises StackError with the log's last lines if the process ends or time is up."""
    end = time.monotonic() + seconds
    while not probe():
        if process.poll() is not None:
            raise StackError(f"{name} did not start (exit {process.returncode}). {log} ends:\n{log_tail(log)}")
        if time.monotonic() > end:
            raise StackError(f"{name} was not ready within {seconds:.0f} s. {log} ends:\n{log_tail(log)}")
        time.sleep(0.02)


def log_tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log file, or `(no log)`."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def leftovers_end(folder: Path, *, name: str, seconds: float = 15) -> None:
    """Wait for servers of an earlier run that still use `folder`, and interrupt those that do not end.

    A server's working directory is its data folder, so this finds the right processes even if a pid file is stale.
    Raises StackError if one remains.
    """
    folder = folder.resolve()
    start = time.monotonic()
    asked: set[int] = set()
    while others := _working_in(folder):
        waited = time.monotonic() - start
        if waited > seconds:
            raise StackError(f"{name} of an earlier run still uses {folder}. End process {others[0].pid} first.")
        if waited > seconds / 3:
            for process in others:
                if process.pid not in asked:
                    asked.add(process.pid)
                    process.send_signal(signal.SIGINT)
                    process.send_signal(signal.SIGCONT)
        time.sleep(0.05)


def _working_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # It has ended, or belongs to another user.
    return found


def user_for(folder: Path) -> str:
    """Return the user to run PostgreSQL as, in the terms of `launch.py`, and make that user the owner of `folder`.

    An ordinary user stays the same. Root enters a user namespace or, where that is refused, becomes nobody. A folder
    that belongs to an ordinary user is served as that user.
    """
    if os.getuid() != 0:
        return "same"
    owner = folder.stat().st_uid
    if owner != 0:
        return str(owner)
    if _namespaces_work():
        return "namespace"
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
    return str(_NOBODY)


@cache
def _namespaces_work() -> bool:
    if sys.platform != "linux":
        return False
    answer = subprocess.run(
        launch_command(["/bin/sh", "-c", "exit 0"], user="namespace"), capture_output=True, timeout=10, check=False
    )
    return answer.returncode == 0
