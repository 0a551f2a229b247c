"""The removal of the example app from a copy of the project. `manage.py removeexample` deletes this file as well."""

from __future__ import annotations

from pathlib import Path

from tests.copies import run
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


def remove_example(copy: Path) -> None:
    """Run the command, which must refuse what git could not undo, and leave nothing that names the example."""
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
