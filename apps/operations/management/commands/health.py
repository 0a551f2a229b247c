"""``manage.py health``: whether the web instance or the worker on this machine works, for process managers and containers."""

import http.client
import socket
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError

from apps.jobs.monitoring import ALIVE, worker_seen

SECONDS = 2.0  # as load balancers wait
# Where to ask what listens on every address.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}  # nosec B104 # noqa: S104 - nothing is bound here


class Command(BaseCommand):
    help = f"""Say in one sentence whether a process on this machine works. Exit status: 0 it does, 1 it does not.

web     asks /readyz at BIND and PORT, or at the socket in BIND, for at most {SECONDS:g} s. An instance that stops or lacks
        migrations does not work; one that a shared dependency fails works, because a restart would not help. With
        --live it asks /healthz, which is only whether the process answers.
worker  looks for a heartbeat of a worker with this host name within the last {ALIVE.seconds} s. If PostgreSQL does not answer,
        the status is 0, because a restart would not help.

Set BIND, PORT and DATABASE_URL as for the process itself."""
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("process", choices=["web", "worker"])
        parser.add_argument("--live", action="store_true", help="web: ask /healthz in place of /readyz.")

    def handle(self, *, process: str, live: bool, **options: Any) -> None:
        works, sentence = _web("/healthz" if live else "/readyz") if process == "web" else _worker()
        (self.stdout if works else self.stderr).write(sentence)
        if not works:
            raise SystemExit(1)


class _SocketConnection(http.client.HTTPConnection):
    """A connection by a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


def _web(path: str) -> tuple[bool, str]:
    environment: Any = getattr(settings, "ENVIRONMENT")  # noqa: B009 - a setting that the stubs do not know
    bind, port = environment["BIND"], environment["PORT"]
    connection: http.client.HTTPConnection
    if bind.startswith("unix:"):
        connection, address = _SocketConnection(bind.removeprefix("unix:")), bind
    else:
        host = _EVERYWHERE.get(bind, bind.strip("[]"))
        connection, address = http.client.HTTPConnection(host, port, timeout=SECONDS), f"{bind}:{port}"
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return False, f"The web instance does not answer at {address}: {error or type(error).__name__}."
    finally:
        connection.close()
    return status == http.HTTPStatus.OK, f"The web instance answers {path} with {status}."


def _worker() -> tuple[bool, str]:
    host = socket.gethostname()
    try:
        seconds = worker_seen(host=host)
    except DatabaseError:
        return True, "PostgreSQL does not answer, so the worker's heartbeat is unknown."
    if seconds is None:
        return False, f"No worker on {host} has a heartbeat: none runs, or it has just ended."
    return seconds < ALIVE.total_seconds(), f"The last heartbeat of a worker on {host} was {seconds:.0f} s ago."
