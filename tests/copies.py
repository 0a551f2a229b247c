"""Temporary copies of the project, for tests that change its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.processes import wait_until

READY_SECONDS = 120  # a shared machine may be slow; what is fast is measured elsewhere
ROOT = Path(__file__).resolve().parents[1]
# What a newcomer's shell has set: no database, no settings module, nothing of the session that runs this.
_KEPT = ("HOME", "LANG", "PATH", "TMPDIR", "CI")
_GIT = ("git", "-c", "user.name=copy", "-c", "user.email=copy@example.com", "-c", "commit.gpgsign=false")


def project_copy(folder: Path) -> Path:
    """Copy the project to `folder`, which must not exist yet, and return it.

    Files are those that git has or would take (no `var/`, no `.env`, nothing ignored) as they are in the working tree. The
    copy is a git repository of its own with one commit, and shares this run's virtual environment as `.venv`.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():  # git lists a deleted file until the deletion is committed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(sys.prefix)
    _git(folder, "init", "-q", "-b", "main")
    (folder / ".git" / "info" / "exclude").write_text(".venv\n")  # .gitignore names the folder; here it is a link
    _git(folder, "add", "--all")
    _git(folder, "commit", "-q", "-m", "A copy")
    return folder


def run(
    copy: Path, *command: str, seconds: float = 120, script: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy, its `.venv/bin` first on PATH, and return its status and output (both streams as one).

    `script` is given on standard input. The environment is a plain shell's with `environment` added; after `seconds` the
    command is killed and `subprocess.TimeoutExpired` raised.
    """
    return subprocess.run(
        command,
        cwd=copy,
        env=environment_of(copy, environment),
        input=script or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def dev_start(tree: Path, environment: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    """Run bin/dev and return once /healthz answers 200."""
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bin/dev"], cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://localhost:{environment['PORT']}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, seconds=READY_SECONDS, what=f"bin/dev to answer; {log}")
    except BaseException:
        process.terminate()
        process.wait(30)
        raise
    return process


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run([*_GIT, *arguments], cwd=folder, check=True, stdin=subprocess.DEVNULL, timeout=60)


def environment_of(copy: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a newcomer's shell in the copy, with `more` added."""
    plain = {name: value for name, value in os.environ.items() if name in _KEPT}
    return {**plain, "PATH": f"{copy / '.venv' / 'bin'}{os.pathsep}{plain['PATH']}", **more}
