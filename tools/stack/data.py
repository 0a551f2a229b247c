"""The data of bin/dev: migrations when something has changed, and demo data once."""

import hashlib
import re
import subprocess
import sys

import psycopg

from settings.env import ROOT

from .core import Stack
from .processes import launch_command
from .sources import StackError

# PostgreSQL's messages about what its build lacks.
_LEFT_OUT = re.compile(r'extension "[^"]+" is not available|ICU is not supported in this build')
_ADVICE = (
    "\nThe PostgreSQL that bin/dev installs is built without TLS, ICU, pgcrypto and uuid-ossp. If you need one of these, set "
    "DATABASE_URL in .env to a server of your own (docs/quickstart.md)."
)


def migration_due(stack: Stack) -> bool:
    """Return whether the code or the database has changed since the last migration.

    Starting Django only to find nothing to migrate would take a third of bin/dev's start-up time.
    """
    mark = stack.directory / "migrated"
    return not mark.exists() or mark.read_text() != _migrated(stack)


def migrate(stack: Stack) -> None:
    """Run the migrations. Raises StackError if one fails."""
    mark = stack.directory / "migrated"
    mark.unlink(missing_ok=True)
    warnings = _manage("migrate", "--noinput", "--verbosity", "0")
    migrated = _migrated(stack)
    if migrated is not None and not warnings:  # Show a warning again at each start.
        mark.write_text(migrated)


def demo_due(stack: Stack) -> bool:
    """Return whether the database has never had demo data. Demo data that was deleted is not made again."""
    mark = stack.directory / "demo"
    if not any(ROOT.glob("apps/*/management/commands/demo.py")):
        return False
    return not mark.exists() or mark.read_text() != _identity(stack)


def demo_make(stack: Stack) -> None:
    """Fill the database with demo data. Raises StackError if that fails."""
    _manage("demo")
    (stack.directory / "demo").write_text(_identity(stack))


def _identity(stack: Stack) -> str:
    """Return a text that differs for another database, and for one created later in the same place."""
    if "postgresql" in stack.servers:
        return str((stack.directory / "postgresql" / "PG_VERSION").stat().st_mtime_ns)
    return hashlib.sha256(stack.state.urls["DATABASE_URL"].encode()).hexdigest()


def _manage(*arguments: str) -> str:
    """Run a management command, copy its standard error to the terminal, and return it."""
    command = launch_command([sys.executable, ROOT / "manage.py", *arguments])
    ran = subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True, errors="replace")
    sys.stderr.write(ran.stderr)
    if ran.returncode != 0:
        advice = _ADVICE if _LEFT_OUT.search(ran.stderr) else ""
        raise StackError(f"manage.py {arguments[0]} failed. Fix the error above, then run bin/dev again.{advice}")
    return ran.stderr


def _migrated(stack: Stack) -> str | None:
    """Return a digest of the apps, their migrations, and the migrations applied to the database.

    Return None before the first migration, and if the database does not answer.
    """
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("settings/**/*.py"), *ROOT.glob("requirements/*.txt"), *ROOT.glob(".env*")]):
        digest.update(path.read_bytes())
    for path in sorted(ROOT.glob("apps/**/migrations/*.py")):
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
    try:
        with psycopg.connect(stack.state.urls["DATABASE_URL"], connect_timeout=5) as connection:
            rows = connection.execute("SELECT app, name FROM django_migrations ORDER BY app, name, id").fetchall()
    except psycopg.Error:
        return None
    digest.update(repr(rows).encode())
    return digest.hexdigest()
