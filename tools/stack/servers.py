"""The three servers of the stack: how each is prepared, started, probed and stopped."""

import locale
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from .processes import launch_command, leftovers_end, port_free, process_start, process_stop, ready_wait, user_for
from .sources import SOURCES, Binary, StackError, binary_find, postgresql_major

_NAME = "shipshape"  # PostgreSQL's role and database
# Terse, as docs/deploy.md recommends: DETAIL lines quote keys and whole rows.
_THROWAWAY_POSTGRESQL = (
    *("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum_naptime=1h"),
    "log_error_verbosity=terse",
)


class Server:
    """One server process with its own data folder below the stack's.

    Call `start` again after `kill` or `stop`: the port and the secrets stay the same, so earlier URLs still work.
    """

    name: str
    death: int = signal.SIGTERM
    stops: Sequence[tuple[int, float]] = ((signal.SIGTERM, 4.0),)  # signal, seconds to wait for its effect

    def __init__(self, *, directory: Path, durable: bool, sources: Sequence[str] = SOURCES) -> None:
        self.binary: Binary = binary_find(server=self.name, sources=sources)
        self.durable = durable
        self.data = directory / self.name
        self.log = directory / f"{self.name}.log"
        self.port = port_free()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The running server's process id, or None."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def url(self) -> dict[str, str]:
        """Return this server's URL by variable, as `{"DATABASE_URL": …}`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and return once it answers. Raises StackError with its last log lines otherwise."""
        if self.pid is not None:
            return
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        leftovers_end(self.data, name=self.name)
        self.process = self._launch()
        try:
            ready_wait(self._answers, process=self.process, name=self.name, log=self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server cleanly, or by force if it does not end."""
        if self.process is not None:
            process_stop(self.process, signals=self.stops)

    def kill(self) -> None:
        """Kill the server at once (SIGKILL), as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def _launch(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class PostgreSQL(Server):
    """A PostgreSQL cluster on a loopback port, with one role, a random password (SCRAM) and no Unix socket.

    A socket's path is limited to 107 bytes, so without one a clone may be in any folder.
    """

    name = "postgresql"
    death = signal.SIGINT
    stops: Sequence[tuple[int, float]] = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0))

    def __init__(self, *, directory: Path, durable: bool, sources: Sequence[str] = SOURCES) -> None:
        super().__init__(directory=directory, durable=durable, sources=sources)
        if not durable:
            self.stops = ((signal.SIGQUIT, 3.0),)
        self._secret = directory / "postgresql.password"

    def url(self) -> dict[str, str]:
        return {"DATABASE_URL": self._address(_NAME)}

    def start(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self._version_check()
        super().start()
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_NAME)))

    def _address(self, database: str) -> str:
        return f"postgresql://{_NAME}:{self._secret.read_text()}@127.0.0.1:{self.port}/{database}"

    def _create(self) -> None:
        """Create the cluster in a draft folder and rename it, so that an interruption leaves no incomplete cluster."""
        draft = self.data.with_name("postgresql.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _secret_write(self._secret, secrets.token_urlsafe(24))
        user = user_for(draft)
        if user.isdecimal():
            os.chown(self._secret, int(user), int(user))  # initdb runs as that user and reads it
        command: list[str | Path] = [self.binary.path.with_name("initdb"), "--pgdata", draft]
        command += ["--username", _NAME, "--pwfile", self._secret, "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", *self._locale(), *([] if self.durable else ["--no-sync"])]
        answer = subprocess.run(
            launch_command(command, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=draft,
            timeout=120,
            check=False,
        )
        if answer.returncode != 0:
            raise StackError(f"initdb failed: {answer.stderr.decode(errors='replace').strip()}")
        shutil.rmtree(self.data, ignore_errors=True)
        draft.rename(self.data)

    def _locale(self) -> list[str]:
        """Return initdb's options for the same sort order on every machine, and for Unicode word boundaries.

        Full-text search uses LC_CTYPE with every provider. Under C it takes each character beyond ASCII for a letter,
        including typographic quotes and dashes.
        """
        if postgresql_major(self.binary.path) >= 17:  # the built-in provider needs no locale of the system
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--lc-ctype={_ctype()}"]
        return [f"--locale={_ctype()}"]

    def _version_check(self) -> None:
        if not self._secret.exists():
            raise StackError(f"{self._secret}, the password of {self.data}, is missing. Restore it, or delete both.")
        made, here = (self.data / "PG_VERSION").read_text().strip(), postgresql_major(self.binary.path)
        if made != str(here):
            raise StackError(
                f"{self.data} was created by PostgreSQL {made}, but the server on this machine is {here} "
                f"({self.binary.path}). Dump the data with version {made}, or delete the folder to start with an empty one."
            )

    def _launch(self) -> subprocess.Popen[bytes]:
        # No process uses the folder (`leftovers_end` made sure), so the file is stale. Its pid may now belong to another
        # process, which PostgreSQL would take for a running server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        options += () if self.durable else _THROWAWAY_POSTGRESQL
        command: list[str | Path] = [self.binary.path, "-D", self.data, "-p", str(self.port)]
        for option in options:
            command += ["-c", option]
        return process_start(command, log=self.log, user=user_for(self.data), death=self.death, folder=self.data)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._address("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Redis(Server):
    """Valkey (or Redis) on a loopback port with a random password; a durable one keeps an append-only file."""

    name = "redis"

    def __init__(self, *, directory: Path, durable: bool, sources: Sequence[str] = SOURCES) -> None:
        super().__init__(directory=directory, durable=durable, sources=sources)
        self._password = secrets.token_urlsafe(24)
        self._configuration = directory / "redis.conf"

    def url(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://:{self._password}@127.0.0.1:{self.port}/0"}

    def _launch(self) -> subprocess.Popen[bytes]:
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "dir": f'"{self.data}"',
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
        }
        # In a file, because `ps` shows arguments to every user.
        _secret_write(self._configuration, "".join(f"{name} {value}\n" for name, value in lines.items()))
        return process_start([self.binary.path, self._configuration], log=self.log, death=self.death, folder=self.data)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(200)):
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


class Caddy(Server):
    """The TLS edge: Caddy with a Caddyfile and the environment that it reads. Ready when `port` accepts connections."""

    name = "caddy"

    def __init__(
        self,
        *,
        directory: Path,
        durable: bool,
        sources: Sequence[str] = SOURCES,
        caddyfile: Path,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory=directory, durable=durable, sources=sources)
        self.port = port or self.port
        self._caddyfile = caddyfile
        self._environment = environment or {}

    def url(self) -> dict[str, str]:
        return {}

    def _launch(self) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [self.binary.path, "run", "--config", self._caddyfile, "--adapter", "caddyfile"]
        # Keep its CA and certificates in the data folder, not in the user's home.
        places = {name: str(self.data) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        environment = {"PATH": os.defpath, **places, **self._environment}
        return process_start(command, log=self.log, death=self.death, folder=self.data, environment=environment)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True


SERVERS: dict[str, Callable[..., Server]] = {"postgresql": PostgreSQL, "redis": Redis}


def _ctype() -> str:
    """Return the first UTF-8 locale for character types that this system has, or C."""
    before = locale.setlocale(locale.LC_CTYPE)
    for name in ("C.UTF-8", "en_US.UTF-8"):
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        locale.setlocale(locale.LC_CTYPE, before)
        return name
    return "C"


def _secret_write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
