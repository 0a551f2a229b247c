"""How the servers are configured."""

import http.client
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from settings.env import ROOT
from settings.kinds import listening
from tests.practices.test_environment import errors
from tools.fleet import production_environment
from tools.stack.processes import port_free, process_start, process_stop, ready_wait

STORES = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}


def gunicorn_setting(name: str, *, environment: str = "test", **more: str) -> str:
    """Return what project/gunicorn.py gives a setting, as text, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", f"import runpy; print(runpy.run_path('project/gunicorn.py')[{name!r}])"],
        cwd=ROOT,
        env={**STORES, "DJANGO_ENV": environment, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return answer.stdout.strip()


@pytest.mark.parametrize(
    ("name", "given", "address"),
    [
        ("dev", "", "127.0.0.1:8123"),  # it shows tracebacks and has an account whose password is published
        ("dev", "0.0.0.0", "0.0.0.0:8123"),
        ("test", "", "0.0.0.0:8123"),
        ("test", "127.0.0.1", "127.0.0.1:8123"),
        ("test", "::1", "[::1]:8123"),
        ("test", "unix:/run/shipshape/web.sock", "unix:/run/shipshape/web.sock"),
    ],
)
def test_bind_and_port(name: str, given: str, address: str) -> None:
    assert gunicorn_setting("bind", environment=name, PORT="8123", BIND=given) == address


@pytest.mark.parametrize(
    "value", ["127.0.0.1:8000", "http://127.0.0.1", "unix:web.sock", f"unix:/{'x' * 107}", "1.2.3", "*", "[::1]:80"]
)
def test_invalid_addresses_are_errors(value: str) -> None:
    with pytest.raises(ValueError, match="without a port"):
        listening(value)


def test_networks_cannot_be_trusted_over_a_socket(tmp_path: Path) -> None:
    [error] = errors(tmp_path, BIND="unix:/run/web.sock", TRUSTED_PROXIES="10.0.0.0/8")
    assert "number of proxies" in error
    assert errors(tmp_path, BIND="unix:/run/web.sock", TRUSTED_PROXIES="1") == []


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.host)


@contextmanager
def instance(folder: Path, *, server: str, bind: str, port: int) -> Iterator[None]:
    environment = production_environment(
        database_url=STORES["DATABASE_URL"],
        redis_url=STORES["REDIS_URL"],
        WEB_SERVER=server,
        BIND=bind,
        PORT=str(port),
    )
    log = folder / "log"
    process = process_start(["bin/web"], log=log, folder=ROOT, environment=environment)

    def listens() -> bool:
        """Return whether somebody accepts connections. granian writes "Listening at" before it does."""
        family, address = (socket.AF_UNIX, bind[5:]) if bind.startswith("unix:") else (socket.AF_INET, (bind, port))
        with socket.socket(family) as probe:
            return probe.connect_ex(address) == 0

    try:
        ready_wait(listens, process=process, name="web", log=log, seconds=60)
        yield
    finally:
        process_stop(process, signals=((15, 27.0),))


def status(connection: http.client.HTTPConnection) -> int:
    with closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_listening_on_a_socket(server: str) -> None:
    port = port_free()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a socket's path has 107 bytes at most
        path = Path(name) / "web.sock"
        with instance(Path(name), server=server, bind=f"unix:{path}", port=port):
            assert status(_OverSocket(str(path))) == 200
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
        assert not path.exists(), "it leaves its socket behind"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_listening_on_loopback(tmp_path: Path, server: str) -> None:
    port = port_free()
    with instance(tmp_path, server=server, bind="127.0.0.1", port=port):
        assert status(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
