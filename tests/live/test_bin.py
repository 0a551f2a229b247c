"""The commands of bin/ in a copy of the tree, as a newcomer runs them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.copies import READY_SECONDS, dev_start
from tests.processes import ROOT, alive, family, wait_until
from tools.stack import StackState, port_free

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", ".env*", "__pycache__", ".*_cache", ".hypothesis", "staticfiles"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project that shares our .venv and has a .env for dev."""
    copy = tmp_path_factory.mktemp("clone") / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    (copy / ".env").write_text("DJANGO_ENV=dev\n")
    return copy


@pytest.fixture
def environment() -> dict[str, str]:
    """Return a newcomer's shell environment, without this session's variables."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: value for name, value in os.environ.items() if name in names} | {"PORT": str(port_free())}


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Return the test's processes, which end after it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_dev_serves_restarts_and_stops(
    tree: Path, environment: dict[str, str], tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    base = f"http://localhost:{environment['PORT']}"
    log = tmp_path / "dev.log"
    process = dev_start(tree, environment, log)
    started.append(process)
    assert status_of(f"{base}/") == 200
    wait_until(lambda: f"ready: {base}/" in log.read_text(), seconds=20, what="the address to be printed")
    assert {"web", "worker", "stack", "data"} <= {line.split("|")[0].strip() for line in log.read_text().splitlines()}

    state = StackState.read(tree / "var" / "stack.json")
    assert state is not None
    with psycopg.connect(state.urls["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'by hand' AS text")
    shell = [
        sys.executable,
        "manage.py",
        "shell",
        "-c",
        "from django.db import connection as c; print(c.introspection.table_names())",
    ]
    second = subprocess.run(shell, cwd=tree, env=environment, capture_output=True, text=True, timeout=60)
    assert "'kept'" in second.stdout, second.stderr

    workers = set(family(process.pid))
    (tree / "apps" / "operations" / "urls.py").touch()
    wait_until(lambda: "urls.py changed: restarting" in log.read_text(), seconds=20, what="the change to be seen")
    wait_until(
        lambda: status_of_or_none(f"{base}/healthz") == 200, seconds=READY_SECONDS, what="the restarted web process"
    )
    assert set(state.pids.values()) <= set(alive(workers)), "the servers stay up through a restart"

    everyone = family(process.pid)
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    seconds = time.monotonic() - interrupted
    assert not alive(everyone)
    assert seconds < 15, f"Ctrl-C took {seconds:.1f} s"  # 5 s on a machine that is not shared with the whole suite

    process = dev_start(tree, environment, tmp_path / "again.log")
    started.append(process)
    again = (tmp_path / "again.log").read_text()
    assert ("migrating" in again, "making demo data" in again) == (False, False), "nothing has to be done twice"
    everyone = family(process.pid)
    process.kill()
    process.wait(10)
    wait_until(lambda: not alive(everyone), seconds=30, what="every process to end after kill -9")

    with subprocess.Popen(
        [sys.executable, "-m", "tools.stack", "up"], cwd=tree, env=environment, stdout=subprocess.PIPE
    ) as stack:
        wait_until(lambda: StackState.read(tree / "var" / "stack.json"), seconds=60, what="the stack alone")
        state = StackState.read(tree / "var" / "stack.json")
        assert state is not None
        with psycopg.connect(state.urls["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT text FROM kept").fetchone() == ("by hand",)
        stack.send_signal(signal.SIGINT)


def status_of_or_none(url: str) -> int | None:
    try:
        return status_of(url)
    except OSError:
        return None


def test_port_in_use_is_one_line(tree: Path, environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = subprocess.run(
            ["bin/dev"], cwd=tree, env=environment | {"PORT": str(port)}, capture_output=True, text=True, timeout=60
        )
    assert answer.returncode == 1
    assert (
        answer.stderr
        == f"Port {port} is in use. Stop the process that listens there, or run PORT={port + 1} bin/dev.\n"
    )
    assert not (tree / "var" / "stack.json").exists()


def test_dev_refuses_another_environment(tree: Path, environment: dict[str, str]) -> None:
    answer = subprocess.run(
        ["bin/dev"], cwd=tree, env=environment | {"DJANGO_ENV": "test"}, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "DJANGO_ENV is test" in answer.stderr


def test_missing_extension_names_the_remedy(tree: Path, environment: dict[str, str]) -> None:
    folder = tree / "apps" / "jobs" / "migrations"
    last = sorted(path.stem for path in folder.glob("[0-9]*.py"))[-1]
    new = folder / "9999_pgcrypto.py"
    new.write_text(
        "from django.contrib.postgres.operations import CryptoExtension\nfrom django.db import migrations\n\n\n"
        f"class Migration(migrations.Migration):\n    dependencies = [('jobs', '{last}')]\n"
        "    operations = [CryptoExtension()]\n"
    )
    try:
        answer = subprocess.run(["bin/dev"], cwd=tree, env=environment, capture_output=True, text=True, timeout=120)
    finally:
        new.unlink()
    assert answer.returncode == 1
    assert 'extension "pgcrypto" is not available' in answer.stderr
    assert "set DATABASE_URL in .env to a server of your own" in answer.stderr.splitlines()[-1]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a tree with bin/ and requirements/ alone, and no .venv yet."""
    for folder in ("bin", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / "bare" / folder)
    return tmp_path / "bare"


def shim(folder: Path, name: str, script: str) -> None:
    """Put a fake command on a shelf of the test's own."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def setup_run(bare: Path, shelf: Path, *options: str) -> subprocess.CompletedProcess[str]:
    for name in ("sh", "cksum", "cat", "dirname", "mkdir", "id"):
        if (found := shutil.which(name)) and not (shelf / name).exists():
            (shelf / name).symlink_to(found)
    command = ["bin/setup", *options]
    return subprocess.run(command, cwd=bare, env={"PATH": str(shelf)}, capture_output=True, text=True, timeout=60)


def test_old_python_names_the_remedy_in_one_line(bare: Path, tmp_path: Path) -> None:
    shim(tmp_path / "shelf", "python3", 'case "$1" in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    answer = setup_run(bare, tmp_path / "shelf")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "3.11 or newer is needed, found Python 3.9.2" in answer.stderr
    assert "apt install" in answer.stderr


def test_missing_venv_module_names_the_remedy_in_one_line(bare: Path, tmp_path: Path) -> None:
    shim(tmp_path / "shelf", "python3", f'case "$2" in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac')
    answer = setup_run(bare, tmp_path / "shelf")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt install python{version}-venv" in answer.stderr


@pytest.fixture
def installed(bare: Path, tmp_path: Path) -> Path:
    """Return the bare tree with all Python packages installed, and an apt-get that only records its calls."""
    (bare / ".venv").mkdir()
    for level in ("dev", "test"):
        requirements = (bare / "requirements" / f"{level}.txt").read_bytes()
        stamp = subprocess.run(["cksum"], input=requirements, capture_output=True, check=True).stdout
        (bare / ".venv" / f".stamp-{level}").write_bytes(stamp)
    (bare / ".env").touch()
    shim(tmp_path / "shelf", "apt-get", f'echo "$@" >>{bare}/asked')
    shim(tmp_path / "shelf", "service", f'echo "$@" >>{bare}/stopped')
    return bare


NEEDED = {"chromium", "pgbouncer", "faketime"}


@pytest.mark.parametrize("here", [set(), {"faketime"}, NEEDED], ids=["none", "faketime", "all"])
def test_setup_installs_missing_debian_packages(installed: Path, tmp_path: Path, here: set[str]) -> None:
    shelf = tmp_path / "shelf"
    shim(shelf, "id", "echo 0")
    for name in here:
        shim(shelf, name, "true")
    answer = setup_run(installed, shelf, "--browser")
    assert answer.returncode == 0, answer.stderr
    asked = (installed / "asked").read_text() if (installed / "asked").exists() else ""
    # bin/setup also looks in /usr/sbin, where this machine may have one.
    missing = NEEDED - here - ({"pgbouncer"} if Path("/usr/sbin/pgbouncer").exists() else set())
    assert {word for word in asked.split() if word in NEEDED} == missing


def test_setup_without_root_names_the_packages(installed: Path, tmp_path: Path) -> None:
    shim(tmp_path / "shelf", "id", "echo 1000")
    answer = setup_run(installed, tmp_path / "shelf", "--browser")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "sudo apt install chromium" in answer.stderr
    assert "faketime" in answer.stderr
    assert not (installed / "asked").exists()


def test_setup_does_nothing_when_complete(tree: Path, environment: dict[str, str]) -> None:
    for _ in range(2):
        answer = subprocess.run(["bin/setup"], cwd=tree, env=environment, capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    assert (tree / ".env").read_text() == "DJANGO_ENV=dev\n"


@pytest.mark.parametrize("command", ["setup", "dev", "test"])
def test_every_command_has_help(command: str, tree: Path, environment: dict[str, str]) -> None:
    answer = subprocess.run(
        [f"bin/{command}", "--help"], cwd=tree, env=environment, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0
    assert f"bin/{command}" in answer.stdout


def test_bin_test_ends_with_counts_and_status(tree: Path, environment: dict[str, str]) -> None:
    probe = tree / "tests" / "test_probe.py"
    probe.write_text(
        "import pytest\ndef test_good(): pass\ndef test_bad(): assert 0\n"
        "@pytest.mark.skip(reason='left out')\ndef test_left_out(): pass\n"
    )
    try:
        command = ["bin/test", "tests/test_probe.py"]
        answer = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)
        assert answer.stdout.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"
        assert answer.returncode == 1
        command[-1] += "::test_good"
        answer = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)
        assert answer.stdout.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"
        assert answer.returncode == 0
    finally:
        probe.unlink()
