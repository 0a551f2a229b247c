"""A PostgreSQL cluster with migrated databases, made once for these migrations; a run of the tests starts on a copy."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tools.fleet import database_migrate, production_environment
from tools.stack import Stack
from tools.stack.sources import SOURCES, binary_find

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "var" / "clusters"
PARTS = ("postgresql", "postgresql.password")
MIGRATED = "migrated"  # the database that others are copies of: nobody connects to it


def cluster_copy(stack: Stack) -> bool:
    """Put the cluster into a temporary stack that has not been started; return whether its PostgreSQL is the stack's own."""
    if stack.is_given("postgresql"):
        return False
    with _locked():
        made = FOLDER / _key()
        if not made.exists():
            _make(made)
        for part in PARTS:
            subprocess.run(["cp", "-a", made / part, stack.directory / part], check=True, timeout=60)
    return True


def path_replaced(url: str, path: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def database_create(url: str, name: str) -> str:
    """Create a database on this server, migrated if the server has one to copy, and return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED]).fetchone()
        template = MIGRATED if found else "template1"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    return path_replaced(url, name)


def is_migrated(url: str) -> bool:
    """Return whether the database was migrated, or is a copy of one that was."""
    with psycopg.connect(url) as connection:
        [[is_there]] = connection.execute("SELECT to_regclass('django_migrations') IS NOT NULL").fetchall()
    return bool(is_there)


def _key() -> str:
    """Return what the content of the cluster depends on: PostgreSQL, the migrations, and those of the requirements."""
    digest = hashlib.sha256(str(binary_find(server="postgresql", sources=SOURCES).path).encode())
    migrations = [*(ROOT / "apps").glob("*/migrations/*.py"), *(ROOT / "tests").glob("*/migrations/*.py")]
    for path in (Path(__file__), ROOT / "requirements" / "test.txt", *sorted(migrations)):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _make(made: Path) -> None:
    """Make the cluster, and delete those of other migrations."""
    shutil.rmtree(FOLDER)
    draft = made.with_suffix(".new")
    with Stack(draft, ("postgresql",)) as stack:  # a durable one, which is stopped cleanly
        url = database_create(stack.state.urls["DATABASE_URL"], MIGRATED)
        settings = {"settings_module": "tests.sample.settings", "redis_url": "redis://127.0.0.1:1/0"}
        database_migrate(environment=production_environment(database_url=url, **settings))
        database_create(url, "test_shipshape")  # as Django calls the tests' own
    draft.rename(made)


@contextmanager
def _locked() -> Iterator[None]:
    """Serialise the runs that make or copy the cluster."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
