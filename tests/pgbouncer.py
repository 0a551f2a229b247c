"""Debian's PgBouncer in transaction mode, in front of a stack's PostgreSQL."""

from __future__ import annotations

import configparser
import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.processes import ROOT, wait_until
from tools.stack import Stack, port_free
from tools.stack.processes import process_start, process_stop, user_for

if TYPE_CHECKING:
    from apps.practices.database.backend.base import DatabaseWrapper

SERVERS = 2  # connections to PostgreSQL
LEFT_BEHIND = """
    SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'TimeZone')
    UNION ALL SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors
    UNION ALL SELECT relname FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()
    UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT 'role ' || current_user WHERE current_user <> session_user
"""


class PgBouncer:
    """One process, which ``start`` also restarts, on the same port.

    It has the settings that the documentation recommends, and few connections, so that clients queue for them.
    """

    def __init__(self, *, binary: str, database_url: str, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.port = port_free()
        self.process: subprocess.Popen[bytes] | None = None
        self.database_url = database_url
        self._direct = urlsplit(database_url)

    @property
    def url(self) -> str:
        """Return its URL, with the database and the role of PostgreSQL's URL."""
        direct = self._direct
        return urlunsplit(direct._replace(netloc=f"{direct.username}:{direct.password}@127.0.0.1:{self.port}"))

    def start(self) -> None:
        """Start it and wait until it accepts a client."""
        # Relative paths, since its user may not read the folders above.
        (self.folder / "users.txt").write_text(f'"{self._direct.username}" "{self._direct.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": "users.txt",
            "admin_users": self._direct.username,
            "default_pool_size": SERVERS,
            **advised(),
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        database = f"{self._direct.path[1:]} = host=127.0.0.1 port={self._direct.port}"
        (self.folder / "pgbouncer.ini").write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines, ""]))
        user = user_for(self.folder)
        self.process = process_start(
            [self.binary, "pgbouncer.ini"], log=self.folder / "log", user=user, death=signal.SIGKILL, folder=self.folder
        )
        wait_until(self._answers, seconds=20, what=lambda: f"PgBouncer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Kill it. Which signal stops it cleanly depends on its version."""
        if self.process is not None:
            process_stop(self.process, signals=())

    def clients(self, *counts: str) -> int:
        """Return how many clients have or await a connection to PostgreSQL; with ``counts``, those in that column."""
        console = self.url.rpartition("/")[0] + "/pgbouncer"
        with psycopg.connect(console, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            cursor = connection.execute("SHOW POOLS")
            names = [column.name for column in cursor.description or ()]
            pools = [dict(zip(names, row, strict=True)) for row in cursor]
        own = [pool for pool in pools if pool["database"] != "pgbouncer"]
        return sum(int(pool[count]) for pool in own for count in counts or ("cl_active", "cl_waiting"))

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to PostgreSQL through it."""
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=None, **options)

    def left_behind(self) -> list[str]:
        """Return what earlier clients left in the pooled sessions; all are held at once, to see each."""
        found: dict[int, list[str]] = {}
        with contextlib.ExitStack() as held:
            for _ in range(SERVERS):
                client = held.enter_context(self.connect())
                held.enter_context(client.transaction())
                names = [name for (name,) in client.execute(LEFT_BEHIND).fetchall()]
                ((pid,),) = client.execute("SELECT pg_backend_pid()").fetchall()
                found[pid] = names
        assert len(found) == SERVERS
        return [name for names in found.values() for name in names]

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def advised() -> dict[str, str]:
    """Return the settings that docs/database.md advises operators to use."""
    page = (ROOT / "docs" / "database.md").read_text()
    (block,) = re.findall(r"^```ini\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    parser = configparser.ConfigParser()
    parser.read_string(block)
    return dict(parser["pgbouncer"])


@contextlib.contextmanager
def connection_through(pgbouncer: PgBouncer) -> Iterator[DatabaseWrapper]:
    """Add a connection as web processes have it through PgBouncer to Django's connections, as ``pgbouncer``."""
    from django.db import connections

    from apps.practices.database.backend.base import DatabaseWrapper
    from settings.components.database import _database

    settings = {**connections["default"].settings_dict, **_database(pgbouncer.url, is_pgbouncer=True)}
    wrapper = connections["pgbouncer"] = DatabaseWrapper(settings, alias="pgbouncer")
    try:
        yield wrapper
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections["pgbouncer"]


@contextlib.contextmanager
def pgbouncer_running(*, binary: str, stack: Stack, database_url: str | None = None) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of a database of the stack, by default its own."""
    folder = stack.directory / "pgbouncer"
    folder.mkdir(mode=0o700)
    database_url = database_url or stack.state.urls["DATABASE_URL"]
    pgbouncer = PgBouncer(binary=binary, database_url=database_url, folder=folder)
    try:
        pgbouncer.start()
        yield pgbouncer
    finally:
        pgbouncer.stop()
        shutil.rmtree(folder, ignore_errors=True)
