"""bin/dev: run the servers, prepare the data, and run the Procfile's processes, restarted when a file changes."""

import http.client
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from watchfiles import Change, DefaultFilter, watch

from settings.env import ENVIRONMENT, ROOT

from . import data
from .core import Stack
from .processes import launch_command
from .sources import StackError

_WATCHED = (".py", ".html", ".txt", ".css", ".js")
_SOURCES = ("apps", "project", "settings", "templates")
_READY_SECONDS = 60
_POLL_SECONDS = 0.5  # between two checks of the processes
_STOP_SECONDS = 8.0  # for all processes together; a worker releases its running jobs first
_STOP_QUIET_SECONDS = 1.5  # before the terminal explains the wait
_WAITED_FOR = {"web": "the requests in flight", "worker": "it to release its running jobs"}
_RETRY_SECONDS = 3.0


def main() -> int:
    """Run until Ctrl-C and return the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: `bin/dev &` begins with it ignored
        signal.signal(number, _interrupt)
    try:
        port = _port()
        with _stack() as stack:
            if data.migration_due(stack):
                _say("data", "migrating")
                data.migrate(stack)
            if data.demo_due(stack):
                _say("data", "making demo data (only once)")
                data.demo_make(stack)
            _supervise(_procfile(), port=port)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("dev", "stopped")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(name: str, text: str) -> None:
    print(f"{name:<7}| {text}", flush=True)


def _port() -> int:
    """Return the port to listen on. Raises StackError if it is taken or the environment is not dev."""
    if ENVIRONMENT.name != "dev":
        raise StackError(
            f"bin/dev is for development, but DJANGO_ENV is {ENVIRONMENT.name}. Unset it, or write DJANGO_ENV=dev to .env."
        )
    port = ENVIRONMENT["PORT"]
    if port is None:
        ENVIRONMENT.require_valid()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))  # every address of this machine
        except OSError as error:
            raise StackError(
                f"Port {port} is in use. Stop the process that listens there, or run PORT={port + 1} bin/dev."
            ) from error
    return int(port)


@contextmanager
def _stack() -> Iterator[Stack]:
    """Run the servers that have no URL in the environment, with their data in var/."""
    entries = {name: ENVIRONMENT.entries[name] for name in ("DATABASE_URL", "REDIS_URL")}
    own = ("default", "unset", "var/stack.json")  # sources of a URL that nobody has set
    given = {name: entry.value for name, entry in entries.items() if entry.source not in own}
    stack = Stack(ROOT / "var", given=given)
    _say("stack", "starting PostgreSQL and Valkey")
    state = stack.start()
    for name, source in state.sources.items():
        _say("stack", f"{name} is ready (process {state.pids[name]}, from the {source})")
    for name in given:
        _say("stack", f"{name} is set: using that server")
    try:
        yield stack
    finally:
        # Ignore a second Ctrl-C, which would leave servers running; stopping them takes a bounded moment.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()


def _procfile() -> dict[str, str]:
    """Return the Procfile's lines by process name, without the release step."""
    lines = [line.partition(":") for line in (ROOT / "Procfile").read_text().splitlines() if ":" in line]
    return {name.strip(): command.strip() for name, _, command in lines if name.strip() != "release"}


class _Process:
    """One line of the Procfile: labels its output, and is started again when it ends."""

    def __init__(self, name: str, line: str) -> None:
        self.name = name
        self._line = line
        self._since = 0.0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._since = time.monotonic()
        self._process = subprocess.Popen(
            launch_command(["/bin/sh", "-c", self._command()], death=signal.SIGQUIT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            cwd=ROOT,
        )
        threading.Thread(target=self._copy, args=[self._process], daemon=True).start()

    def _command(self) -> str:
        """Return the line with `exec`, so that signals reach the server and not a shell."""
        return self._line if self._line.startswith("exec ") else f"exec env {self._line}"

    def _copy(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            _say(self.name, line.rstrip("\n"))

    def terminate(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, *, by: float) -> None:
        """Wait for its end until `by` on the monotonic clock, then kill what is left of its session."""
        if self._process is None:
            return
        try:
            self._wait(by=by)
        except subprocess.TimeoutExpired:
            _say(self.name, f"did not stop within {_STOP_SECONDS:.0f} s: killed")
        with suppress(ProcessLookupError):  # The usual case: its session has no process left.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait(self, *, by: float) -> None:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, min(_STOP_QUIET_SECONDS, by - time.monotonic())))
            return
        _say(
            self.name,
            f"waiting for {_WAITED_FOR.get(self.name, 'it to end')}, at most {max(0.0, by - time.monotonic()):.0f} s",
        )
        self._process.wait(max(0.0, by - time.monotonic()))

    def restart_if_ended(self) -> None:
        """Start it again if it has ended, at most once in a few seconds."""
        if self._process is None or self._process.poll() is None:
            return
        if time.monotonic() - self._since > _RETRY_SECONDS:
            _say(self.name, f"ended with status {self._process.returncode}: starting it again")
            self.start()


def _supervise(lines: dict[str, str], *, port: int) -> None:
    """Run every process until Ctrl-C, and restart all of them when code, templates or the environment change."""
    processes = [_Process(name, line) for name, line in lines.items()]
    try:
        for process in processes:
            _say(process.name, "starting")
            process.start()
        announcement = threading.Thread(target=_announce, args=[port], daemon=True)
        announcement.start()
        changes = _changes()
        while True:
            with suppress(queue.Empty):
                _restart(processes, changes.get(timeout=_POLL_SECONDS))
            for process in processes:
                process.restart_if_ended()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _stop_all(processes)


def _changes() -> queue.SimpleQueue[list[Path]]:
    """Return a queue of the files that changed, relative to the project.

    Watches the source folders and the files at the top. The data below `var/` changes all the time.
    """
    found: queue.SimpleQueue[list[Path]] = queue.SimpleQueue()

    def look(*folders: Path, recursive: bool) -> None:
        for changed in watch(*folders, watch_filter=_Filter(), recursive=recursive, debounce=400, step=50):
            found.put(sorted({Path(path).relative_to(ROOT) for _, path in changed}))

    sources = [ROOT / name for name in _SOURCES]
    threading.Thread(target=look, args=sources, kwargs={"recursive": True}, daemon=True).start()
    threading.Thread(target=look, args=[ROOT], kwargs={"recursive": False}, daemon=True).start()
    return found


def _restart(processes: list[_Process], changed: list[Path]) -> None:
    _say("dev", f"{changed[0]} changed: restarting")
    _stop_all(processes)
    if any("migrations" in path.parts for path in changed):
        subprocess.run(
            launch_command([sys.executable, ROOT / "manage.py", "migrate", "--noinput"]), cwd=ROOT, check=False
        )
    for process in processes:
        process.start()


def _stop_all(processes: list[_Process]) -> None:
    for process in processes:
        process.terminate()
    by = time.monotonic() + _STOP_SECONDS
    for process in processes:
        process.stop(by=by)


def _announce(port: int) -> None:
    """Print the addresses once the web process answers."""
    _say("dev", f"waiting for web to answer on port {port}")
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            break  # Any response will do.
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    else:
        _say("dev", f"no answer on port {port} yet: see the output of `web` above")
        return
    address = f"http://localhost:{port}"
    for text in (
        f"ready: {address}/",
        f"       {address}/api/docs",
        f"       {address}/admin/",
        "Ctrl-C stops everything",
    ):
        _say("dev", text)


class _Filter(DefaultFilter):
    """Accepts what needs a restart: code, templates and environment files."""

    def __call__(self, change: Change, path: str) -> bool:
        name = Path(path).name
        return (name.endswith(_WATCHED) or name.startswith(".env")) and super().__call__(change, path)


if __name__ == "__main__":
    sys.exit(main())
