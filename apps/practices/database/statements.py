"""Cursors that measure their statements, and prepare only those that say so."""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any, Self

import psycopg
from django.db import DatabaseError
from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg import Cursor

from apps.practices.observability.queries import statement_observe

# SQLSTATE of a statement whose table has changed, and of one that the server does not have, or has already: a pooler may give
# each transaction another session.
NOT_PREPARED = frozenset({"0A000", "26000", "42P05"})


class PreparableSQL(str):
    """A statement that PostgreSQL may prepare: its plan does not depend on the values.

    PostgreSQL keeps one plan for all values of a prepared statement. A search, of which some words are in most rows and others
    in none, needs a plan for each.
    """

    __slots__ = ()


class MeasuredCursor(ServerBindingCursor, Cursor[Any]):
    """Django's cursor, whose statements are counted and timed."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        """Execute as psycopg does."""
        started = perf_counter()
        try:
            return super().execute(query, params, prepare=prepare, binary=binary)
        finally:
            statement_observe(query, perf_counter() - started)

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Execute as psycopg does. It counts as one statement."""
        started = perf_counter()
        try:
            super().executemany(query, params_seq, **options)
        finally:
            statement_observe(query, perf_counter() - started)


class PreparingCursor(MeasuredCursor):
    """Django's cursor, which prepares ``PreparableSQL`` once a connection has executed it ``prepare_threshold`` times."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        """Execute as psycopg does."""
        if prepare is None and type(query) is not PreparableSQL:
            prepare = False
        return super().execute(query, params, prepare=prepare, binary=binary)


def execute_read(cursor: Any, sql: str, parameters: Sequence[Any]) -> Any:
    """Execute a SELECT outside of a transaction, and return the cursor. A prepared statement that failed as such is repeated."""
    try:
        cursor.execute(sql, parameters)
    except (psycopg.Error, DatabaseError) as error:
        found = error if isinstance(error, psycopg.Error) else error.__cause__
        if getattr(found, "sqlstate", None) not in NOT_PREPARED:
            raise
        cursor.execute("DEALLOCATE ALL")  # psycopg forgets its prepared statements, too
        cursor.execute(str(sql), parameters)
    return cursor
