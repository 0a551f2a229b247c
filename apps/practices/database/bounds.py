"""The server's bounds where no session is ours: behind PgBouncer in transaction mode they travel with each transaction.

PgBouncer refuses them when a connection begins, and what one client sets for its session the next one finds, or does not.
So a statement that begins a transaction is sent as one message with them in front (``SET LOCAL``), which costs no round trip
and ends with the transaction. PostgreSQL runs a message of several statements as one transaction, and times each by itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, ClassVar, Self

from django.db.backends.postgresql.base import Cursor
from psycopg import Copy, sql
from psycopg.pq import TransactionStatus


class BoundsCursor(Cursor):
    """A cursor whose transactions are bounded. Use `cursor_class` for one that has bounds to carry.

    Django's own binds parameters on this side, for which psycopg sends plain messages: they may hold several statements.
    """

    bounds: ClassVar[str] = ""
    count: ClassVar[int] = 0

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Execute as psycopg does, behind the bounds when this begins a transaction; their results are passed over."""
        if not self._begins:
            return super().execute(query, params, **options)
        super().execute(_joined(self.bounds, query), params, **options)
        for _ in range(self.count):
            self.nextset()
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Execute as psycopg does, in a transaction."""
        with self._bounded():
            super().executemany(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Copy]:
        """Copy as psycopg does, in a transaction."""
        with self._bounded(), super().copy(statement, params, **options) as copy:
            yield copy

    @property
    def _begins(self) -> bool:
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """What psycopg sends in other ways holds one statement: the bounds go before it, in the same transaction."""
        with self.connection.transaction() if self._begins and self.connection.autocommit else nullcontext():
            if self.connection.pgconn.transaction_status ...
            yield
