"""The sandbox of the experiments: a private stack with the production settings, deleted afterwards."""

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tools.fleet import ROOT, Fleet, Service, database_migrate, production_environment
from tools.prove.client import Client
from tools.stack import Stack

T = TypeVar("T")

ADDRESSES = (f"127.0.{100 + secrets.randbelow(100)}.{number}" for number in range(1, 255))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an experiment did, what it observed, and whether the practice kept its promise."""

    did: str
    saw: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Account:
    """A registered account that is signed in."""

    email: str
    password: str
    access: str
    refresh: str


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The running service, with clients to call it and its processes to stop, freeze or kill."""

    stack: Stack
    fleet: Fleet
    environment: Mapping[str, str]
    root: Path

    def client(self, url: str | None = None) -> Client:
        """Return a client with its own source address. It calls the edge unless ``url`` names an instance."""
        authority = self.fleet.authority if url is None else None
        return Client(url or self.fleet.url, authority=authority, address=next(ADDRESSES))

    @property
    def worker(self) -> Service:
        """The fleet's worker."""
        if self.fleet.worker is None:
            raise RuntimeError("This fleet has no worker.")
        return self.fleet.worker

    def as_edge(self, *, scheme: str = "https") -> dict[str, str]:
        """Return the headers that the edge adds, for calling an instance directly."""
        host = self.fleet.url.partition("://")[2]
        return {"Host": host, "X-Forwarded-Proto": scheme, "X-Forwarded-For": "127.0.0.1"}

    def restore(self) -> None:
        """Restart what an experiment stopped, so that the next one finds the whole service running."""
        os.kill(self.stack.state.pids["redis"], signal.SIGCONT)
        if "postgresql" not in self.stack.state.pids:
            self.stack.restart("postgresql")
        down = [service for service in (*self.fleet.webs, self.worker) if not service.is_running]
        for service in down:
            service.start()
        for web in self.fleet.webs:
            self._reach_database(self.client(web.url))

    def _reach_database(self, client: Client) -> None:
        """Wait until an instance answers from PostgreSQL. After a restart its pool needs a moment to reconnect."""
        path, headers = "/api/v1/sample/notes/slow?seconds=0", self.as_edge()
        wait_until(lambda: client.get(path, headers=headers).status == 200 or None, seconds=15)

    def account(self, client: Client) -> Account:
        """Register a new account and sign in."""
        email, password = f"{secrets.token_hex(8)}@example.com", secrets.token_urlsafe(24)
        answer = client.post("/api/v1/auth/register", {"email": email, "password": password})
        if answer.status == 201:
            answer = client.post("/api/v1/auth/login", {"email": email, "password": password})
        if answer.status != 200:
            raise RuntimeError(f"Could not sign in: {answer.status} {answer.body[:300]!r}")
        tokens = answer.json()
        return Account(email=email, password=password, access=tokens["access"], refresh=tokens["refresh"])


def wait_until(look: Callable[[], T | None], *, seconds: float, every: float = 0.1) -> T | None:
    """Call ``look`` until it returns something other than None, and return that; return None after ``seconds``."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(every)
    return found


@contextmanager
def sandbox_open(*, settings_module: str, extra: Mapping[str, str]) -> Iterator[Sandbox]:
    """Boot the private stack (PostgreSQL, Valkey, two web instances, a worker, an edge with TLS) and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="shipshape-prove-") as folder, Stack.temporary() as stack:
        environment = production_environment(
            database_url=stack.state.urls["DATABASE_URL"],
            redis_url=stack.state.urls["REDIS_URL"],
            settings_module=settings_module,
            **extra,
        )
        database_migrate(environment=environment)
        fleet = Fleet(environment=environment, instances=2, worker=True, edge=True, folder=Path(folder))
        with fleet:
            yield Sandbox(stack=stack, fleet=fleet, environment=environment, root=ROOT)
