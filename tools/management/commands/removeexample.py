"""`manage.py removeexample`: take the example app, apps/articles, out of the project."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

ROOT = Path(__file__).resolve().parents[3]
# The example's lines in files that stay. Each pattern matches exactly once.
LINES = {
    "settings/base.py": (r'^    "apps\.articles",\n',),
    "project/urls.py": (r'^    path\("api/v1/", include\("apps\.articles\.urls"\)\),\n',),
    "pyproject.toml": (
        r'^    "articles",\n|(?<=^    ")articles \| | \| articles\b',
        r'"apps\.articles", |, "apps\.articles"',
    ),
    "README.md": (
        r"^## A tour\n.*?(?=^## )",
        r"^apps/articles/ [^\n]*\n",
        r"^\| How do I remove the example app\?[^\n]*\n",
    ),
    "docs/quickstart.md": (
        r"^The \[README\]\([^)]*\) has a tour [^\n]*\n\n",
        r"^2\. When you no longer [^\n]*\n",
        r"^## Take the example out\n.*\Z",
    ),
}
# Its code and tests, and this command with its test.
PATHS = (
    "apps/articles",
    "tests/apps/articles",
    "tests/live/example.py",
    "tools/management/commands/removeexample.py",
)


class Command(BaseCommand):
    help = (
        "Take the example app, apps/articles, out of the project: delete its code and its tests, its lines in settings, routes "
        "and import contracts, the README's tour, and this command. No other app imports the example. "
        "The command changes files only, and only in a clean git work tree, so `git checkout .` undoes it. "
        "If your database has the example's tables, run `./manage.py migrate articles zero` first. Run `bin/test` afterwards."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Print what would be changed, and change nothing.")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        texts = {name: _without(name, patterns) for name, patterns in LINES.items()}
        paths = [path for path in PATHS if (ROOT / path).exists()]
        if dry_run:
            self._print([f"would change {name}" for name in texts] + [f"would delete {path}" for path in paths])
            return
        _require_clean()
        _require_no_tables()
        for name, text in texts.items():
            (ROOT / name).write_text(text)
        for path in paths:
            (shutil.rmtree if (ROOT / path).is_dir() else Path.unlink)(ROOT / path)
        self._print([f"changed {name}" for name in texts] + [f"deleted {path}" for path in paths])
        self.stdout.write(
            "\nThe example is gone. Check the change with git diff, and run bin/test. If the database had its tables, run\n"
            "./manage.py remove_stale_contenttypes --include-stale-apps to delete its permissions."
        )

    def _print(self, lines: list[str]) -> None:
        self.stdout.write("\n".join(lines))


def _without(name: str, patterns: tuple[str, ...]) -> str:
    """Return a file's text without the one match of each pattern. Raises CommandError if there is not exactly one."""
    text = (ROOT / name).read_text()
    for pattern in patterns:
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE | re.DOTALL)
        if count != 1:
            raise CommandError(
                f"{name}: expected one match of {pattern} but found {count}. Nothing was changed. Remove the example from "
                "this file by hand, or restore its original lines and try again."
            )
    return text


def _require_clean() -> None:
    """Raise CommandError unless git could undo the change."""
    command = ["git", "status", "--porcelain"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - argv is constant
    if ran.returncode:
        raise CommandError(
            "This folder is not a git repository, so the change could not be undone. Run git init first."
        )
    if ran.stdout:
        raise CommandError(
            f"Commit or stash your changes first, so that this change can be undone:\n{ran.stdout.rstrip()}"
        )


def _require_no_tables() -> None:
    """Raise CommandError if the database still has tables of the example."""
    own = {model._meta.db_table for model in apps.get_app_config("articles").get_models()}
    left = own.intersection(connection.introspection.table_names())
    if left:
        raise CommandError(
            f"The database still has tables of the example: {', '.join(sorted(left))}. "
            "Run ./manage.py migrate articles zero to drop them, then try again."
        )
