"""Connections of web processes: every wait for the server ends, and one breaker a server knows how the waits ended.

``statement_timeout`` is the server's, so a server that is stopped never applies it; TCP's own timers do not run
while the stopped server's kernel acknowledges packets. Only the client's clock is left.
"""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, ClassVar, Generic, Self

import psycopg
from django.conf import settings
from psycopg import errors
from psycopg.abc import RV, PQGen

from apps.practices.mechanisms.breaker import Breaker

INTERVAL_SECONDS = 0.1  # psycopg's own interval between looks for an interruption
LONGEST_PAUSE = 1.0  # seconds between two probes of a server that is away
# PgBouncer speaks for itself (08P01) or passes on why it cannot log in; PostgreSQL leaves or is about to come (57P).
NOT_FROM_POSTGRESQL = ("08", "28", "3D", "53300", "57P")

_longest: ContextVar[float] = ContextVar("database_longest_wait", default=float("inf"))


@contextmanager
def wait_limit(seconds: float) -> Iterator[None]:
    """Wait for the server at most so long at a time, where the caller has less time than a statement may take."""
    token = _longest.set(seconds)
    try:
        yield
    finally:
        _longest.reset(token)


class CircuitOpen(psycopg.OperationalError):
    """The breaker is open: no connection was even asked for."""


class ServerUnresponsive(psycopg.OperationalError):
    """The server has not answered within the bound of the client; the connection is closed."""


class Steps(Generic[RV]):
    """The steps of one operation of psycopg: between two of them it waits for the server."""

    __slots__ = ("_gen", "have_waited")

    def __init__(self, gen: PQGen[RV]) -> None:
        self._gen = gen
        self.have_waited = False

    def taken(self) -> PQGen[RV]:
        """Take them as psycopg would, and remember whether there was more than one."""
        try:
            what = next(self._gen)
            self.have_waited = True
            while True:
                what = self._gen.send((yield what))
        except StopIteration as end:
            answer: RV = end.value
            return answer


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which no single wait for the server lasts longer than ``settings.DATABASE_WAIT_SECONDS``.

    While the last thing known of the server is a failure, or where another server could answer (`has_fallback`), it is
    ``settings.DATABASE_SUSPICIOUS_WAIT_SECONDS``. Use `connection_class` for one that shares the breaker of its server.
    """

    breaker: ClassVar[Breaker] = Breaker("postgresql", longest_pause=LONGEST_PAUSE)
    has_fallback: ClassVar[bool] = False

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect as psycopg does, and tell the breaker how it went."""
        try:
            connection = super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            cls.breaker.failed(error)
            raise
        cls._connected()
        return connection

    def wait(self, gen: PQGen[RV], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        """Wait as psycopg does, at most so long; close the connection and raise ``ServerUnresponsive`` after that.

        The connection cannot be used again: an answer to the abandoned statement might still arrive on it.
        What waits for nothing (``set_autocommit``, a commit of nothing) tells the breaker nothing.
        """
        is_brief = self.has_fallback or self.breaker.is_suspicious
        usual = settings.DATABASE_SUSPICIOUS_WAIT_SECONDS if is_brief else settings.DATABASE_WAIT_SECONDS
        bound = min(usual, _longest.get())
        asked_at = time.monotonic()
        steps = Steps(gen)
        try:
            answer = super().wait(steps.taken(), interval, bound if timeout is None else min(timeout, bound))
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            self._unanswered(error, asked_at)
            raise ServerUnresponsive(f"no answer from PostgreSQL within {bound} s") from error
        except psycopg.Error as error:
            self._refused(error, asked_at)
            raise
        if steps.have_waited:
            self.breaker.succeeded()
        return answer

    @classmethod
    def _connected(cls) -> None:
        cls.breaker.succeeded()

    def _unanswered(self, error: Exception, asked_at: float) -> None:
        self.breaker.failed(error)

    def _refused(self, error: psycopg.Error, asked_at: float) -> None:
        """An error instead of an answer says nothing: the statement may be wrong, the connection may have ended."""


class PgBouncerConnection(BoundedConnection):
    """A bounded connection to a PgBouncer, which lets clients in while PostgreSQL is away, and has them queue for it.

    So what counts for the breaker is PostgreSQL's own answer, be it an error. That one client got none says nothing while
    others get theirs: it stood in the queue.
    """

    @classmethod
    def _connected(cls) -> None:
        """Nothing is known of PostgreSQL yet."""

    def _unanswered(self, error: Exception, asked_at: float) -> None:
        if self.breaker.answered_at < asked_at:
            self.breaker.failed(error)

    def _refused(self, error: psycopg.Error, asked_at: float) -> None:
        if error.sqlstate and not error.sqlstate.startswith(NOT_FROM_POSTGRESQL):
            self.breaker.succeeded()
        elif error.sqlstate or isinstance(error, psycopg.OperationalError):  # else it was made on this side
            self._unanswered(error, asked_at)


@cache
def breaker_of(alias: str) -> Breaker:
    """This function will return the breaker of one database, which all connections to it share."""
    return Breaker("postgresql" if alias == "default" else f"postgresql-{alias}", longest_pause=LONGEST_PAUSE)


@cache
def connection_class(alias: str, *, is_pgbouncer: bool = False) -> type[BoundedConnection]:
    """This function will return the class of the connections to one database, or to the PgBouncer before it."""
    base = PgBouncerConnection if is_pgbouncer else BoundedConnection
    return type(base.__name__, (base,), {"breaker": breaker_of(alias), "has_fallback": alias != "default"})


def connection_lost(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, by a look at its socket.

    Nothing is due on an idle connection, so a readable one holds the server's farewell or its end. The rare other
    message (a setting reloaded) costs a healthy connection its place in the pool, and no request anything.
    """
    if connection.closed:
        return True
    look = select.poll()
    look.register(connection.pgconn.socket, select.POLLIN)
    return bool(look.poll(0))
