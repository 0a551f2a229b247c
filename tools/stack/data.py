"""The data of bin/dev: tables as the code has them, and demo data once."""

import hashlib
import re
import subprocess
import sys

import psycopg

from settings.env import ROOT

from .core import Stack
from .processes import launch_command
from .sources import StackError

# What PostgreSQL says of what its build does not have.
_LEFT_OUT = re.compile(r'extension "[^"]+" is not available|ICU is not supported in this build')
_ADVICE = (
    "\nThe PostgreSQL that bin/dev brings is built without TLS, ICU, pgcrypto and uuid-ossp. To use what it lacks, name a server "
    "of your own as DATABASE_URL in .env (docs/quickstart.md)."
)


def migration_due(stack: Stack) -> bool:
    """Return whether the code or the database is not as the last migration left it.

    Starting Django to learn that there is nothing to migrate takes a third of the time until bin/dev answers.
    """
    mark = stack.directory / "migrated"
    return not mark.exists() or mark.read_text() != _migrated(stack)


def migrate(stack: Stack) -> None:
    """Make the tables as the code has them; StackError when a migration fails."""
    mark = stack.directory / "migrated"
    mark.unlink(missing_ok=True)
    said = _manage("migrate", "--noinput", "--verbosity", "0")
    migrated = _migrated(stack)
    if migrated is not None and not said:  # A warning is to be read at each start.
        mark.write_text(migrated)


def demo_due(stack: Stack) -> bool:
    """Return whether the database has never had demo data: what somebody deleted stays deleted."""
    mark = stack.directory / "demo"
    if not any(ROOT.glob("apps/*/management/commands/demo.py")):
        return False
    return not mark.exists() or mark.read_text() != _identity(stack)


def demo_make(stack: Stack) -> None:
    """Fill the database with something to look at; StackError when that fails."""
    _manage("demo")
    (stack.directory / "demo").write_text(_identity(stack))


def _identity(stack: Stack) -> str:
    """Return what tells this database from another, or from one that was made later in its place."""
    if "postgresql" in stack.services:
        return str((stack.directory / "postgresql" / "PG_VERSION").stat().st_mtime_ns)
    return hashlib.sha256(stack.state.urls["DATABASE_URL"].encode()).hexdigest()


def _manage(*arguments: str) -> str:
    """Run a management command, and return what it wrote to standard error once that is on the terminal."""
    command = launch_command([sys.executable, ROOT / "manage.py", *arguments])
    ran = subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True, errors="replace")
    sys.stderr.write(ran.stderr)
    if ran.returncode != 0:
        advice = _ADVICE if _LEFT_OUT.search(ran.stderr) else ""
        raise StackError(f"manage.py {arguments[0]} failed: mend what it says above, then run bin/dev again.{advice}")
    return ran.stderr


def _migrated(stack: Stack) -> str | None:
    """Return a digest of what there is to migrate: the apps, their migrations, and which of them the database has seen.

    None before the first migration, and when the database cannot be asked.
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
