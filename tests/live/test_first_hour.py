"""What a newcomer's first hour needs: a clone that has only seen bin/dev, used by an ordinary user."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import commands_in
from tests.copies import project_copy
from tests.processes import ROOT, wait_until
from tools.prove.practices import PRACTICES

NOBODY = 65534
# Other users may not be able to read root's Python.
PYTHON, PATH = ("/usr/bin/python3", os.defpath) if os.getuid() == 0 else (sys.executable, os.environ["PATH"])
COMMAND = re.compile(r"manage\.py ([a-z_]+)")

pytestmark = pytest.mark.timeout(400)


class Newcomer:
    """An ordinary user and their clone, whose .venv holds requirements/dev.txt alone."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.environment = {"PATH": PATH, "HOME": str(tree.parent), "LANG": "C.UTF-8"}

    def command(self, *words: str) -> list[str]:
        """Return the argv that runs a command as the user, not as root."""
        if os.getuid() != 0:
            return list(words)
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *words]

    def run(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone; return its status, and output and errors as one text."""
        return subprocess.run(
            self.command(*words), cwd=self.tree, env=self.environment, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    home = Path(tempfile.mkdtemp(prefix="newcomer-"))  # not below pytest's folder, which only root can read
    home.chmod(0o755)
    tree = project_copy(home / "project")
    venv = tree / ".venv"
    venv.unlink()
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    install = ["-m", "uv", "pip", "install", "--quiet", "--require-hashes", "-r", tree / "requirements" / "dev.txt"]
    subprocess.run([sys.executable, *install, "--python", venv / "bin" / "python"], check=True, timeout=300)
    (tree / ".env").write_text("DJANGO_ENV=dev\n")
    if os.getuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    yield Newcomer(tree)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def servers(newcomer: Newcomer) -> Iterator[None]:
    """Start the servers that bin/dev starts, without web and worker."""
    with subprocess.Popen(
        newcomer.command(".venv/bin/python", "-m", "tools.stack", "up"),
        cwd=newcomer.tree, env=newcomer.environment, stdout=subprocess.DEVNULL,
    ) as stack:  # fmt: skip
        try:
            wait_until(lambda: (newcomer.tree / "var" / "stack.json").exists(), seconds=60, what="the servers")
            yield
        finally:
            stack.terminate()


def test_prove_proves_all_thirteen(newcomer: Newcomer) -> None:
    ran = newcomer.run("./manage.py", "prove", "--json", seconds=300)
    outcomes = json.loads(ran.stdout[ran.stdout.index("{") :])["practices"]
    assert [outcome for outcome in outcomes if outcome["status"] != "proved"] == []
    assert [(outcome["number"], outcome["word"]) for outcome in outcomes] == [
        (number, word) for word, number in PRACTICES.items()
    ]
    assert all(set(outcome) == {"word", "number", "status", "did", "saw", "seconds"} for outcome in outcomes)
    assert ran.returncode == 0


def documented() -> list[str]:
    """Return every management command that the README or a page of docs/ names."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return sorted({name for page in pages for name in COMMAND.findall(page.read_text())})


def test_documented_commands_have_help(newcomer: Newcomer, servers: None) -> None:
    names = documented()
    assert {"prove", "startresource", "env", "migrate", "prune", "jobs"} <= set(names)
    python = newcomer.command(".venv/bin/python")
    with commands_in(newcomer.environment, python=python, folder=newcomer.tree) as manage:
        failed = {name: ran for name in names if (ran := manage(name, "--help")).returncode or not ran.stdout}
    assert failed == {}


@pytest.mark.parametrize(
    "words",
    [
        ("migrate", "--noinput"),
        ("check", "--database", "default", "--fail-level", "WARNING"),
        ("env",),
        ("demo",),
        ("jobs", "list"),
        ("prune", "--dry-run"),
        ("startresource", "shop.Product", "title:str", "price:decimal", "--public"),
    ],
    ids=lambda words: words[0],
)
def test_commands_succeed(newcomer: Newcomer, servers: None, words: tuple[str, ...]) -> None:
    ran = newcomer.run("./manage.py", *words)
    assert ran.returncode == 0, ran.stdout
