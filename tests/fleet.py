"""A fleet for live tests: real web processes, on a database of their own in the session's PostgreSQL."""

import http.client
import json
import secrets
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.clusters import cluster_copy, database_create, is_migrated, path_replaced
from tests.processes import wait_until
from tools.fleet import Fleet, database_migrate, production_environment
from tools.stack import Stack

REDIS_DATABASE = 7  # away from what tests in this process keep in database 0
# For fleet_running(): a development service on plain http.
DEVELOPMENT = {
    "DJANGO_ENV": "dev",
    "DJANGO_SETTINGS_MODULE": "settings.dev",
    "PUBLIC_URL": "",  # as in bin/dev: http://localhost and the port
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "TRUSTED_PROXIES": "0",
}


@contextmanager
def servers_alone() -> Iterator[Stack]:
    """Servers that nobody else uses, to be hurt; what is committed is kept, which throw-away ones do not promise."""
    stack = Stack.temporary()
    cluster_copy(stack)
    with stack:
        name = urlsplit(stack.state.urls["DATABASE_URL"]).path.strip("/")
        url = path_replaced(stack.state.urls["DATABASE_URL"], "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER ROLE ALL SET synchronous_commit = on")
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        database_create(url, name)  # a migrated one
        yield stack


@contextmanager
def fleet_on(
    urls: Mapping[str, str],
    *,
    settings_module: str = "tests.sample.settings",
    instances: int = 2,
    worker: bool = False,
    edge: bool = False,
    **more: str,
) -> Iterator[Fleet]:
    """Migrate the database of these servers and start the sample service on it.

    Without an edge the instances are asked directly, as it would ask them. An answer that breaks the document fails in the end.
    """
    with tempfile.NamedTemporaryFile(prefix="contract-") as report:
        environment = production_environment(
            database_url=urls["DATABASE_URL"],
            redis_url=path_replaced(urls["REDIS_URL"], str(REDIS_DATABASE)),
            settings_module=settings_module,
            **{"CONTRACT_REPORT": report.name, **more},
        )
        if not is_migrated(urls["DATABASE_URL"]):
            database_migrate(environment=environment)
        with Fleet(environment=environment, instances=instances, worker=worker, edge=edge) as fleet:
            yield fleet
            for web in fleet.webs:  # nobody asks them any more, so that nobody waits until they have drained
                if web.is_running:
                    web.kill()
        broken = Path(report.name).read_text()
        assert not broken, f"answers that break the OpenAPI document:\n{broken}"


@contextmanager
def fleet_running(
    stack: Stack, *, worker: bool = False, edge: bool = True, instances: int = 2, **more: str
) -> Iterator[Fleet]:
    """Create a database and start the sample service on it; both are gone afterwards."""
    urls = stack.state.urls
    name = f"fleet_{secrets.token_hex(4)}"
    own = {**urls, "DATABASE_URL": database_create(urls["DATABASE_URL"], name)}
    try:
        with fleet_on(own, instances=instances, worker=worker, edge=edge, **more) as fleet:
            yield fleet
    finally:
        with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def all_started(fleet: Fleet) -> None:
    """Put back what a test has taken away: every instance runs and the edge gives it requests."""
    for web in fleet.webs:
        if web.process is None or web.process.poll() is not None:
            web.start(wait=False)
    for web in fleet.webs:
        web.ready_wait()
    context = fleet.ssl_context()
    wait_until(lambda: ask(fleet.url, "/healthz", context=context).status == 200, seconds=15, what="the edge")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a stranger got: ``headers`` by lower-case name, and the ``seconds`` it took."""

    status: int
    headers: dict[str, str]
    content: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.content)


class WholeRequests(http.client.HTTPConnection):
    """Sends a request in one piece. http.client sends the body later, on a busy machine so late that it counts as slow."""

    _parts: list[bytes] | None = None

    def request(self, *arguments: Any, **options: Any) -> None:
        self._parts = []
        super().request(*arguments, **options)
        whole, self._parts = b"".join(self._parts), None
        self.send(whole)

    def send(self, data: Any) -> None:
        if self._parts is None:
            super().send(data)
        else:
            self._parts.append(data)


def ask(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 30,
) -> Answer:
    """One request on a connection of its own, as the edge would ask an instance. ``body`` goes as JSON, bytes as they are."""
    parts = urlsplit(url)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body)
        sent["Content-Type"] = "application/json"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
    else:
        connection = WholeRequests(parts.netloc, timeout=timeout)
        sent = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", **sent}
    started = time.monotonic()
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=found, content=content, seconds=time.monotonic() - started)


class Load:
    """Requests without a pause from a few threads; what was not answered as expected is kept.

    Every thread goes through all ``calls``: method, path, expected status.
    """

    def __init__(self, fleet: Fleet, calls: Sequence[tuple[str, str, int]], *, threads: int = 4) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._fleet = fleet
        self._calls = calls
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        context = self._fleet.ssl_context()
        while not self._stop.is_set():
            for method, path, expected in self._calls:
                body = {} if method == "POST" else None
                try:
                    answer = ask(self._fleet.url, path, method=method, body=body, context=context)
                except (OSError, http.client.HTTPException) as error:
                    self.failed.append(f"{method} {path}: {error!r}")
                    continue
                self.answered += 1
                if answer.status != expected:
                    self.failed.append(f"{method} {path}: {answer.status} {answer.content[:200]!r}")
