"""Cursors that prepare only the statements that say so."""

from typing import Any, Self

from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg import Cursor


class PreparableSQL(str):
    """A statement that PostgreSQL may prepare: its plan does not depend on the values.

    PostgreSQL keeps one plan for all values of a prepared statement. A search, of which some words are in most rows and others
    in none, needs a plan for each.
    """

    __slots__ = ()


class PreparingCursor(ServerBindingCursor, Cursor[Any]):
    """Django's cursor, which prepares ``PreparableSQL`` once a connection has executed it ``prepare_threshold`` times."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        """Execute as psycopg does."""
        if prepare is None and type(query) is not PreparableSQL:
            prepare = False
        return super().execute(query, params, prepare=prepare, binary=binary)
