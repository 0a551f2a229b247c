"""The server's bounds where no session is ours: behind PgBouncer in transaction mode they travel with each transaction.

PgBouncer lets no connection in that asks for them, and what one client sets for its session another one meets. So the
statement that begins a transaction is sent in one message with them before it (``SET LOCAL``), which costs no round trip and
ends with the transaction. PostgreSQL runs the statements of a message in one transaction, and gives each its own time.

A message of several statements has no room for values beside it, so they are written into it, where the server's log may show
them. A write that begins a transaction therefore goes after its bounds in a message of its own, at the price of round trips.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, ClassVar, Self

from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg import ClientCursor, Copy, sql
from psycopg import Cursor as PsycopgCursor
from psycopg.pq import TransactionStatus


class BoundsCursor(ServerBindingCursor, PsycopgCursor[Any]):
    """A cursor whose transactions are bounded; `cursor_class` makes one for certain bounds."""

    bounds: ClassVar[str]
    count: ClassVar[int]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Execute as psycopg does, after the bounds when this begins a transaction; their own results are passed over."""
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
        """Execute as psycopg does, in one bounded transaction."""
        with self._bounded():
            super().executemany(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Copy]:
        """Copy as psycopg does, in one bounded transaction."""
        with self._bounded(), super().copy(statement, params, **options) as copy:
            yield copy

    def _begins(self) -> bool:
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """For what travels in messages of one statement: the bounds go before them, within the same transaction."""
        if not self._begins():
            yield
            return
        with self.connection.transaction() if self.connection.autocommit else nullcontext():
            super().execute(self.bounds)
            yield


@cache
def cursor_class(bounds: tuple[tuple[str, str], ...]) -> type[BoundsCursor]:
    """This function will return the cursor class that carries these bounds, pairs of a setting's name and its value."""
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
