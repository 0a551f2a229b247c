"""A streaming replica of a stack's PostgreSQL."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.processes import wait_until
from tools.stack import Stack, port_free
from tools.stack.processes import launch_command, process_start, process_stop, user_for


@dataclass
class Standby:
    """A hot standby of the stack's PostgreSQL."""

    stack: Stack
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        parts = urlsplit(self.stack.state.urls["DATABASE_URL"])
        return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.port}"))

    @property
    def user(self) -> str:
        return user_for(self.folder)

    def copy(self) -> None:
        """Copy the primary's files and configure replication."""
        primary = self.stack.state.urls["DATABASE_URL"].rpartition("/")[0]
        server = self.stack.servers["postgresql"]
        command = [server.binary.path.with_name("pg_basebackup"), "--pgdata", self.folder / "data", "--dbname", primary]
        command += ["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
        subprocess.run(launch_command(command, user=self.user), check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        command: list[str | Path] = [self.stack.servers["postgresql"].binary.path, "-D", self.folder / "data"]
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200")
        for option in (*options, "fsync=off", "hot_standby=on"):
            command += ["-c", option]
        self.process = process_start(command, log=self.folder / "log", user=self.user, folder=self.folder)
        wait_until(self._answers, seconds=20, what="the replica")

    def stop(self) -> None:
        if self.process is not None:
            process_stop(self.process, signals=((signal.SIGQUIT, 3.0),))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def standby_running(stack: Stack) -> Iterator[Standby]:
    """Run a replica of the stack's PostgreSQL, and delete it afterwards."""
    folder = stack.servers["postgresql"].data.parent / f"standby-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    standby = Standby(stack, folder, port_free())
    try:
        standby.copy()
        standby.start()
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(folder, ignore_errors=True)
