"""``manage.py health``: one sentence and a status, for web instances and workers."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError
from django.utils import timezone

from apps.jobs.models import JobWorker
from apps.operations import health as readiness
from apps.operations.management.commands import health

pytestmark = pytest.mark.django_db(transaction=True)


class Quiet(WSGIRequestHandler):
    def address_string(self) -> str:
        return "local"  # a socket's peer has no address

    def log_message(self, *_: object) -> None:
        pass


class SocketServer(WSGIServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 80
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        return self.socket.accept()[0], ("127.0.0.1", 0)


@contextmanager
def serving(server: WSGIServer) -> Iterator[None]:
    """Serve the application in a thread."""
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit status and the sentence."""
    try:
        call_command("health", *arguments)
        status = 0
    except SystemExit as ended:
        status = int(str(ended.code))
    printed = capsys.readouterr()
    lines = [line for line in (printed.out + printed.err).splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    return status, lines[0]


def test_a_web_instance_by_its_port(settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    server = WSGIServer(("127.0.0.1", 0), Quiet)
    settings.ENVIRONMENT = {"BIND": "0.0.0.0", "PORT": server.server_port}
    readiness.dependency_checks.cache_clear()
    with serving(server):
        assert asked(capsys, "web") == (0, "The web instance answers /readyz with 200.")
        monkeypatch.setattr(readiness, "is_draining", lambda: True)
        assert asked(capsys, "web") == (1, "The web instance answers /readyz with 503.")
        assert asked(capsys, "web", "--live") == (0, "The web instance answers /healthz with 200.")
    status, sentence = asked(capsys, "web")
    assert (status, sentence[:43]) == (1, "The web instance does not answer at 0.0.0.0")


def test_a_web_instance_by_its_socket(settings: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings.ENVIRONMENT = {"BIND": f"unix:{tmp_path}/web.sock", "PORT": 1}
    assert asked(capsys, "web")[0] == 1
    with serving(SocketServer(f"{tmp_path}/web.sock", Quiet)):  # type: ignore[arg-type]  # a path is the address
        assert asked(capsys, "web", "--live") == (0, "The web instance answers /healthz with 200.")


def test_a_web_instance_that_hangs(settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(health, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and says nothing
        settings.ENVIRONMENT = {"BIND": "127.0.0.1", "PORT": silent.getsockname()[1]}
        status, sentence = asked(capsys, "web")
    assert status == 1
    assert sentence.endswith("timed out.")


def test_a_worker_by_its_heartbeat(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    host = socket.gethostname()
    JobWorker.objects.create(name=f"other-{host}/1-1", queues=[])
    assert asked(capsys, "worker") == (1, f"No worker on {host} has a heartbeat: none runs, or it has just ended.")
    JobWorker.objects.create(name=f"{host}/1-1", queues=[], seen_at=timezone.now() - timedelta(seconds=90))
    assert asked(capsys, "worker") == (1, f"The last heartbeat of a worker on {host} was 90 s ago.")
    JobWorker.objects.create(name=f"{host}/2-2", queues=[])
    assert asked(capsys, "worker")[0] == 0

    def away(**_: object) -> float:
        raise OperationalError

    monkeypatch.setattr(health, "worker_seen", away)
    assert asked(capsys, "worker") == (0, "PostgreSQL does not answer, so the worker's heartbeat is unknown.")
