"""The whole service: web instances, a worker and the TLS edge, each in its own process.

Runs the Procfile's lines on free loopback ports. Imports no Django: tests and experiments use it over HTTP.
"""

import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from settings.variables import VARIABLES

from .stack import StackError, port_free
from .stack.processes import log_tail, process_start, process_stop, ready_wait
from .stack.servers import Caddy

ROOT = Path(__file__).resolve().parents[1]
_STOPS = ((signal.SIGTERM, 27.0),)


def production_environment(
    *, database_url: str, redis_url: str, settings_module: str = "settings.prod", **more: str
) -> dict[str, str]:
    """Return an environment that ``settings.prod`` accepts, with new secrets; ``more`` overrides it.

    The fleet sets ``PUBLIC_URL`` and ``PORT``.
    """
    by_module = settings_module.rpartition(".")[0] == "settings"
    keys = [{"kid": "fleet", "key": secrets.token_urlsafe(48), "sign_from": "2020-01-01T00:00:00Z"}]
    return {
        # The defaults, so that a developer's own .env has no effect.
        **dict.fromkeys((variable.name for variable in VARIABLES), ""),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "LANG": "C.UTF-8",
        "DJANGO_SETTINGS_MODULE": settings_module,
        # The name of a module in another package does not say which environment it is.
        **({} if by_module else {"DJANGO_ENV": "prod"}),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(64),
        "JWT_KEYS": json.dumps(keys),
        "METRICS_TOKEN": secrets.token_urlsafe(32),
        "EMAIL_URL": "dummymail://",
        "EMAIL_FROM": "noreply@localhost",
        "ALLOWED_HOSTS": "localhost",
        "PUBLIC_URL": "https://localhost",
        "TRUSTED_PROXIES": "1",
        "BIND": "127.0.0.1",
        "WEB_CONCURRENCY": "1",
        **more,
    }


def database_migrate(*, environment: Mapping[str, str]) -> None:
    """Migrate the database that ``environment`` names. Raises StackError with the command's output if that fails."""
    command = [sys.executable, "manage.py", "migrate", "--noinput", "--skip-checks", "--verbosity=0"]
    ran = subprocess.run(  # noqa: S603 - argv is constant
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if ran.returncode:
        raise StackError(f"The migrations failed: {ran.stderr[-2000:]}")


class Service:
    """One process of the fleet. It can be started again after it ended, on the same port and with the same log."""

    def __init__(self, *, name: str, folder: Path, environment: Mapping[str, str], port: int | None = None) -> None:
        self.name = name
        self.port = port
        self.environment = dict(environment)
        self.log_path = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT`` of a web instance."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Return whether it has been started and has not ended yet."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before ``start``."""
        return self._running().pid

    def start(self, *, wait: bool = True) -> None:
        """Start the process and wait until it is ready. Raises StackError if a web instance does not get ready."""
        command = ["/bin/sh", "-c", f"exec {procfile_line(self.name.rstrip('0123456789-'))}"]
        self.process = process_start(command, log=self.log_path, folder=ROOT, environment=self.environment)
        if wait:
            self.ready_wait()

    def ready_wait(self, seconds: float = 60) -> None:
        """Wait until a web instance answers ``/readyz`` with 200. Return at once for a worker: its work is queued."""
        if self.port is not None:
            probe = _probe(self.url + "/readyz")
            ready_wait(probe, process=self._running(), name=self.name, log=self.log_path, seconds=seconds)

    def terminate(self) -> None:
        """Send SIGTERM to the main process only, as a process manager does."""
        self._running().terminate()

    def terminate_group(self) -> None:
        """Send SIGTERM to all its processes at once, as Heroku-style hosts do."""
        os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill all its processes at once (SIGKILL), as the loss of a machine would."""
        os.killpg(self.pid, signal.SIGKILL)
        self._running().wait(10)

    def wait(self, timeout: float) -> int:
        """Wait for its end and return the exit status. Raise StackError with the end of its log after ``timeout`` seconds."""
        try:
            return self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise StackError(
                f"{self.name} did not end within {timeout:g} s. {self.log_path} ends:\n{log_tail(self.log_path, lines=30)}"
            ) from None

    def stop(self) -> None:
        """Stop it cleanly, or by force if it does not end. Do nothing if it is not running."""
        if self.process is not None and self.is_running:
            process_stop(self.process, signals=_STOPS)

    def log(self) -> str:
        """Return everything it has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """Return its log lines that are JSON objects."""
        found = []
        for line in self.log().splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError(f"{self.name} has not been started.")
        return self.process


class Fleet:
    """Web instances, optionally a worker and the edge, all with one environment.

    environment: the environment of every process. ``PORT`` and, with an edge, ``PUBLIC_URL`` are set here.
    folder: the folder for logs and the edge's CA. The default is a temporary one, which ``stop`` deletes.
    Start it from the main thread: the processes end when the thread that started them ends.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        instances: int = 2,
        worker: bool = False,
        edge: bool = True,
        folder: Path | None = None,
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="shipshape-fleet-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._http_port, self._https_port = port_free(), port_free()
        shared = dict(environment)
        if edge:
            shared["PUBLIC_URL"] = f"https://localhost:{self._https_port}"
        self.webs = [self._web(number, shared) for number in range(1, instances + 1)]
        self.worker = Service(name="worker", folder=self.folder, environment=shared) if worker else None
        self.edge = self._edge(shared) if edge else None

    @property
    def url(self) -> str:
        """The service's address: the edge's, or the first instance's if there is no edge."""
        return f"https://localhost:{self._https_port}" if self.edge else self.webs[0].url

    @property
    def plain_url(self) -> str:
        """The edge's unencrypted address, which redirects or refuses."""
        return f"http://localhost:{self._http_port}"

    @property
    def authority(self) -> Path | None:
        """The certificate (PEM) of the CA that signed the edge's certificate; None without an edge."""
        return self.edge.data / "caddy/pki/authorities/local/root.crt" if self.edge else None

    def ssl_context(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts only this fleet's edge."""
        if self.authority is None:
            raise RuntimeError("A fleet without an edge has no TLS.")
        return ssl.create_default_context(cafile=str(self.authority))

    def start(self) -> None:
        """Start everything and wait until it is ready. Raises StackError, with nothing left running, if that fails."""
        try:
            if self.worker is not None:
                self.worker.start()
            for web in self.webs:
                web.start(wait=False)
            for web in self.webs:
                web.ready_wait()
            if self.edge is not None:
                self.edge.start()
                self._edge_wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything: the edge first, then all others at once."""
        if self.edge is not None:
            self.edge.stop()
        others = [*self.webs, *([self.worker] if self.worker else [])]
        for service in others:
            if service.is_running:
                service.terminate()
        for service in others:
            service.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _web(self, number: int, environment: Mapping[str, str]) -> Service:
        port = port_free()
        return Service(
            name=f"web-{number}", folder=self.folder, environment={**environment, "PORT": str(port)}, port=port
        )

    def _edge(self, environment: Mapping[str, str]) -> Caddy:
        values = {
            "PUBLIC_URL": environment["PUBLIC_URL"],
            "EDGE_HTTP_PORT": str(self._http_port),
            "EDGE_HTTPS_PORT": str(self._https_port),
            "EDGE_UPSTREAMS": " ".join(f"127.0.0.1:{web.port}" for web in self.webs),
        }
        return Caddy(
            directory=self.folder,
            durable=False,
            caddyfile=ROOT / "deploy" / "Caddyfile",
            port=self._https_port,
            environment=values,
        )

    def _edge_wait(self, seconds: float = 30) -> None:
        """Wait until the edge has its certificate and a healthy instance."""
        end = time.monotonic() + seconds
        while self.authority is None or not self.authority.exists() or not _probe(self.url + "/readyz", self)():
            if time.monotonic() > end:
                raise StackError(f"The edge did not serve {self.url} within {seconds:.0f} s. See {self.folder}.")
            time.sleep(0.05)


def procfile_line(name: str) -> str:
    """Return the Procfile's command for a process type, as ``web``."""
    for line in (ROOT / "Procfile").read_text().splitlines():
        kind, _, command = line.partition(":")
        if kind.strip() == name:
            return command.strip().removeprefix("exec ")
    raise StackError(f"The Procfile has no line for {name}.")


def _probe(url: str, fleet: Fleet | None = None) -> Callable[[], bool]:
    """Return a function that returns whether a GET of ``url`` is answered with 200."""
    parts = urlsplit(url)

    def answers() -> bool:
        connection: http.client.HTTPConnection
        if parts.scheme == "https" and fleet is not None:
            connection = http.client.HTTPSConnection(parts.netloc, timeout=5, context=fleet.ssl_context())
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answers
