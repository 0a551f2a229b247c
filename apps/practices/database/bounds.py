"""Timeouts for connections through a PgBouncer in transaction mode: each transaction sets its own (ADR 0034).

PgBouncer refuses connections that ask for these settings, and a session's settings would remain for its next client. So the
statement that begins a transaction is sent in one message, after ``SET LOCAL`` statements, which costs no round trip.
PostgreSQL runs the statements of a message in one transaction and times each of them separately.

Such a message cannot have parameters, so the values are written into it, where the server's log may show them. A write that
begins a transaction is therefore sent in a message of its own, after its bounds, which costs round trips.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, ClassVar, Self

from psycopg import ClientCursor, Copy, sql
from psycopg.pq import TransactionStatus

from apps.practices.database.statements import MeasuredCursor


class BoundsCursor(MeasuredCursor):
    """A cursor that sets the bounds of each transaction it begins. Use ``cursor_class`` to get one."""

    bounds: ClassVar[str]
    count: ClassVar[int]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Execute as psycopg does, after the bounds if this begins a transaction, and skip the results of the bounds."""
        if not self._begins():
            return super().execute(query, params, **options)
        if params and not _is_read(query):
            with self._bounded():
                return super().execute(query, params, **options)
        if params:
            query = ClientCursor(self.connection).mogrify(query, params)
        super().execute(_joined(self.bounds, query), None, **options)
        for _ in range(self.count):
            self.nextset()
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Execute as psycopg does, in a transaction with bounds."""
        with self._bounded():
            super().executemany(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Copy]:
        """Copy as psycopg does, in a transaction with bounds."""
        with self._bounded(), super().copy(statement, params, **options) as copy:
            yield copy

    def _begins(self) -> bool:
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Set the bounds in a message of their own, within the same transaction."""
        if not self._begins():
            yield
            return
        with self.connection.transaction() if self.connection.autocommit else nullcontext():
            super().execute(self.bounds)
            yield


@cache
def cursor_class(bounds: tuple[tuple[str, str], ...]) -> type[BoundsCursor]:
    """Return the cursor class for these bounds, pairs of a setting and its value."""
    text = "".join(f"SET LOCAL {name} = '{value}'; " for name, value in bounds)
    return type("BoundsCursor", (BoundsCursor,), {"bounds": text, "count": len(bounds)})


def _is_read(query: Any) -> bool:
    text = query.as_string() if isinstance(query, sql.Composable) else query
    text = text.decode() if isinstance(text, bytes) else text
    return text.lstrip()[:6].upper() == "SELECT"


def _joined(bounds: str, query: Any) -> Any:
    if isinstance(query, sql.Composable):
        return sql.SQL(bounds) + query
    return bounds.encode() + query if isinstance(query, bytes) else bounds + query
