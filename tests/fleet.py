"""A fleet for live tests: real web processes, on a database of their own in the session's PostgreSQL."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from apps.operations.fleet import ROOT, Fleet, production_environment
from apps.operations.stack import Stack

REDIS_DATABASE = 7  # away from what tests in this process keep in database 0


@contextmanager
def fleet_running(
    stack: Stack, *, worker: bool = False, edge: bool = True, instances: int = 2, **more: str
) -> Iterator[Fleet]:
    """Create and migrate a database, start the sample service on it; both are gone afterwards."""
    urls = stack.state.urls
    name = f"fleet_{secrets.token_hex(4)}"
    with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            environment = production_environment(
                database_url=path_replaced(urls["DATABASE_URL"], name),
                redis_url=path_replaced(urls["REDIS_URL"], str(REDIS_DATABASE)),
                settings_module="tests.sample.settings",
                **more,
            )
            command = [sys.executable, "manage.py", "migrate", "--noinput", "--skip-checks", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)
            with Fleet(environment=environment, instances=instances, worker=worker, edge=edge) as fleet:
                yield fleet
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def path_replaced(url: str, path: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))
