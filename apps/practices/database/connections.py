"""Connections of web processes, with a timeout on every wait for the server and one circuit breaker per server.

A stopped server does not apply ``statement_timeout``, and TCP timeouts do not apply while its kernel still acknowledges
packets. Only a timeout of the client ends such a wait.
"""

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, ClassVar, Generic, Self

import psycopg
from django.conf import settings
from psycopg import errors
from psycopg.abc import RV, PQGen

from apps.practices.database.readers import Reader
from apps.practices.mechanisms.breaker import Breaker

INTERVAL_SECONDS = 0.1  # psycopg's default interval between checks for an interrupt
LONGEST_PAUSE = 1.0  # seconds between two probes of an unreachable server
# Errors of PgBouncer itself (08P01), its failed logins, and a PostgreSQL that is stopping or starting (57P).
NOT_FROM_POSTGRESQL = ("08", "28", "3D", "53300", "57P")

_longest: ContextVar[float] = ContextVar("database_longest_wait", default=float("inf"))


@contextmanager
def wait_limit(seconds: float) -> Iterator[None]:
    """Limit each wait for the server to so many seconds, for callers with less time than a statement may take."""
    token = _longest.set(seconds)
    try:
        yield
    finally:
        _longest.reset(token)


class CircuitOpen(psycopg.OperationalError):
    """The breaker is open, so no connection was attempted."""


class ServerUnresponsive(psycopg.OperationalError):
    """The server did not respond within the client's timeout. The connection is closed."""


class Steps(Generic[RV]):
    """The steps of a psycopg operation, which waits for the server between two of them."""

    __slots__ = ("_gen", "have_waited")

    def __init__(self, gen: PQGen[RV]) -> None:
        self._gen = gen
        self.have_waited = False

    def run(self) -> PQGen[RV]:
        """Run them as psycopg would, and record whether it had to wait."""
        try:
            what = next(self._gen)
            self.have_waited = True
            while True:
                what = self._gen.send((yield what))
        except StopIteration as end:
            result: RV = end.value
            return result


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which each wait for the server is limited to ``settings.DATABASE_WAIT_SECONDS``.

    The limit is ``settings.DATABASE_SUSPICIOUS_WAIT_SECONDS`` after a failure, until the server responds, and where another
    server could answer (``has_fallback``). Use ``connection_class`` to get one with the breaker of its server.
    """

    breaker: ClassVar[Breaker] = Breaker("postgresql", longest_pause=LONGEST_PAUSE)
    has_fallback: ClassVar[bool] = False
    _reader: Reader | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect as psycopg does, and report the outcome to the breaker."""
        try:
            connection = super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            cls.breaker.failed(error)
            raise
        cls._connected()
        return connection

    def wait(self, gen: PQGen[RV], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        """Wait as psycopg does, but close the connection and raise ``ServerUnresponsive`` at the limit.

        The connection cannot be used again, since the response to the abandoned statement could still arrive on it.
        Operations that do not wait (``set_autocommit``, an empty commit) report nothing to the breaker.
        """
        steps = Steps(gen)
        result = self._bounded(steps.run(), interval, timeout)
        if steps.have_waited:
            self.breaker.succeeded()
        return result

    def exchanged(self, gen: PQGen[RV]) -> RV:
        """Wait for the response to what has been sent, as ``wait`` does."""
        result = self._bounded(gen, INTERVAL_SECONDS, None)
        self.breaker.succeeded()
        return result

    def _bounded(self, gen: PQGen[RV], interval: float, timeout: float | None) -> RV:
        is_brief = self.has_fallback or self.breaker.is_suspicious
        usual = settings.DATABASE_SUSPICIOUS_WAIT_SECONDS if is_brief else settings.DATABASE_WAIT_SECONDS
        bound = min(usual, _longest.get())
        asked_at = time.monotonic()
        try:
            return super().wait(gen, interval, bound if timeout is None else min(timeout, bound))
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            self._unanswered(error, asked_at)
            raise ServerUnresponsive(f"no response from PostgreSQL within {bound} s") from error
        except psycopg.Error as error:
            self._refused(error, asked_at)
            raise

    def rows_read(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT outside of a transaction."""
        if self._reader is None:
            self._reader = Reader(self)
        return self._reader.rows(sql, parameters)

    @classmethod
    def _connected(cls) -> None:
        cls.breaker.succeeded()

    def _unanswered(self, error: Exception, asked_at: float) -> None:
        self.breaker.failed(error)

    def _refused(self, error: psycopg.Error, asked_at: float) -> None:
        """Report nothing: an error may mean a wrong statement as well as a lost connection."""


class PgBouncerConnection(BoundedConnection):
    """A connection to a PgBouncer, which accepts clients and lets them queue while PostgreSQL is unreachable.

    So the breaker counts responses of PostgreSQL itself, including errors. A timeout only counts if no other client got a
    response in the meantime; otherwise this one was in the queue.
    """

    @classmethod
    def _connected(cls) -> None:
        """Report nothing: PgBouncer has accepted the client, which says nothing about PostgreSQL."""

    def _unanswered(self, error: Exception, asked_at: float) -> None:
        if self.breaker.answered_at < asked_at:
            self.breaker.failed(error)

    def _refused(self, error: psycopg.Error, asked_at: float) -> None:
        if error.sqlstate and not error.sqlstate.startswith(NOT_FROM_POSTGRESQL):
            self.breaker.succeeded()
        elif error.sqlstate or isinstance(error, psycopg.OperationalError):  # others are raised by the client
            self._unanswered(error, asked_at)


@cache
def breaker_of(alias: str) -> Breaker:
    """Return the breaker of a database, which all connections to it share."""
    return Breaker("postgresql" if alias == "default" else f"postgresql-{alias}", longest_pause=LONGEST_PAUSE)


@cache
def connection_class(alias: str, *, is_pgbouncer: bool = False) -> type[BoundedConnection]:
    """Return the class of the connections to a database, or to the PgBouncer in front of it."""
    base = PgBouncerConnection if is_pgbouncer else BoundedConnection
    return type(base.__name__, (base,), {"breaker": breaker_of(alias), "has_fallback": alias != "default"})


def connection_lost(connection: psycopg.Connection[Any]) -> bool:
    """Return whether the server has closed an idle connection, by polling its socket.

    Nothing is expected on an idle connection, so readable data is the server's last message or the end of the stream. Rarely
    it is another message, such as a reloaded setting; the pool then replaces a healthy connection.
    """
    if connection.closed:
        return True
    look = select.poll()
    look.register(connection.pgconn.socket, select.POLLIN)
    return bool(look.poll(0))
