"""The example can be taken out: the recipe of the quickstart, run in a copy as it is written, leaves a project that is whole."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.copies import ROOT, project_copy, run
from tools.stack import Stack

CODE = (
    "apps",
    "bin",
    "deploy",
    "project",
    "settings",
    "templates",
    "tests",
    "tools",
    "pyproject.toml",
    "README.md",
)
# Not repeated: the thousand tests of the practices and the boot of each environment, which know no feature (the search for the
# example's name shows it); the plans over many rows, each list's by itself; what takes times, waits, or starts a process a case.
# The walks over every route, model and field are, with the tests of all other apps. `--soak` leaves nothing out.
LEFT_OUT = (
    "tests/practices/",
    "tests/settings/",
    "tests/test_inputs.py",
    "tests/test_plans.py",
    *(f"tests/apps/accounts/test_{subject}.py" for subject in ("keys_file", "timing", "user_command")),
    *(f"tests/apps/jobs/test_{subject}.py" for subject in ("command", "idempotency_rivals", "limits", "sharing")),
)
WALKS = ("tests/practices/test_error_map.py", "tests/practices/test_sample.py")


def recipe() -> list[str]:
    """Return the shell blocks below the heading, in order: before and after the database, then the files."""
    _, _, part = (ROOT / "docs" / "quickstart.md").read_text().partition("## Take the example out\n")
    return re.findall(r"```sh\n(.*?)```", part, flags=re.DOTALL)


def told(copy: Path) -> list[str]:
    """Return the test files that are not left out."""
    files = sorted(path.relative_to(copy).as_posix() for path in (copy / "tests").rglob("test_*.py"))
    return [file for file in files if file in WALKS or not file.startswith(LEFT_OUT)]


@pytest.mark.timeout(900)
def test_the_project_is_whole_without_the_example(tmp_path: Path, soak: bool) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # what is the same in both is not read again
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    tables, files = recipe()
    with Stack.temporary() as stack:
        development = {**stack.state.urls, "DJANGO_ENV": "dev"}
        steps = ("./manage.py migrate -v 0", tables, files, "./manage.py migrate --check")
        for step in steps:
            ran = run(copy, "sh", "-e", script=step, **development)
            assert ran.returncode == 0, f"{step}\n{ran.stdout}"

    left = run(copy, "git", "grep", "-i", "-n", "-w", "-e", "articles", "--", *CODE)
    assert left.stdout == ""

    checks = "import sys; from tests.run import run_stages; sys.exit(run_stages()['failed'])"
    ran = run(copy, "python", "-c", checks, seconds=400)
    assert ran.returncode == 0, ran.stdout
    ran = run(copy, "pytest", "-q", *(["tests"] if soak else ["-m", "not live", *told(copy)]), seconds=800)
    assert ran.returncode == 0, ran.stdout[-8000:]
