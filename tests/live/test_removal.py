"""`manage.py removeexample` in a copy: it refuses what git could not undo, and leaves a project that passes its tests."""

from __future__ import annotations

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
# Every test file is imported; these are not run again, since the search for the example's name shows that they do not use it. The
# walks over every route, model and field are run. `--soak` leaves nothing out.
LEFT_OUT = (
    "tests/apps/accounts/",
    "tests/apps/jobs/",
    "tests/practices/",
    "tests/settings/",
    "tests/test_inputs.py",
    "tests/test_plans.py",
)
WALKS = ("tests/practices/test_error_map.py", "tests/practices/test_sample.py")


def chosen(copy: Path) -> list[str]:
    """Return the test files that are not left out."""
    files = sorted(path.relative_to(copy).as_posix() for path in (copy / "tests").rglob("test_*.py"))
    return [file for file in files if file in WALKS or not file.startswith(LEFT_OUT)]


@pytest.mark.timeout(900)
def test_project_without_the_example_passes(tmp_path: Path, soak: bool) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # so that mypy checks again only what differs
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    with Stack.temporary() as stack:
        development = {**stack.state.urls, "DJANGO_ENV": "dev"}

        def manage(*words: str) -> str:
            ran = run(copy, "./manage.py", *words, **development)
            return f"exit {ran.returncode}\n{ran.stdout}"

        assert manage("migrate", "-v0") == "exit 0\n"
        assert "still has tables of the example" in manage("removeexample")
        assert manage("migrate", "-v0", "articles", "zero") == "exit 0\n"
        assert "would delete apps/articles\n" in manage("removeexample", "--dry-run")
        (copy / "note.txt").touch()
        assert "Commit or stash your changes first" in manage("removeexample")
        (copy / "note.txt").unlink()
        assert run(copy, "git", "status", "--porcelain").stdout == ""
        assert manage("removeexample").startswith("exit 0\n")
        assert manage("remove_stale_contenttypes", "--include-stale-apps", "--noinput").startswith("exit 0\n")
        assert manage("migrate", "--check") == "exit 0\n"

    left = run(copy, "git", "grep", "-i", "-n", "-w", "-e", "articles", "--", *CODE)
    assert left.stdout == ""

    checks = "import sys; from tests.run import run_stages; sys.exit(run_stages()['failed'])"
    ran = run(copy, "python", "-c", checks, seconds=400)
    assert ran.returncode == 0, ran.stdout
    ran = run(copy, "pytest", "-q", "--collect-only", "tests")
    assert ran.returncode == 0, ran.stdout[-8000:]
    ran = run(copy, "pytest", "-q", *(["tests"] if soak else ["-m", "not live", *chosen(copy)]), seconds=800)
    assert ran.returncode == 0, ran.stdout[-8000:]
