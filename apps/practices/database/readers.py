"""Reads by statements that a connection has prepared: psycopg's steps without its cursor (ADR 0039)."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from psycopg._preparing import Prepare
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.postgres import types
from psycopg.pq import ExecStatus, Format

from apps.practices.database.statements import NOT_PREPARED, PreparableSQL, execute_read
from apps.practices.observability.queries import statement_observe

if TYPE_CHECKING:
    from apps.practices.database.connections import BoundedConnection

QUERIES_MAX = 100  # as psycopg's prepared_max
# Rows of these types are read in PostgreSQL's binary format, of which psycopg makes the same values in less time. Of other types
# it may make others, because Django has loaders of its own for the text format.
BINARY = frozenset(
    types[name].oid for name in ("uuid", "timestamptz", "date", "text", "varchar", "int2", "int4", "int8", "bool")
) | {types["text"].array_oid, types["varchar"].array_oid}


class Reader:
    """Reads rows on a connection outside of transactions, for one caller at a time.

    psycopg decides when a statement is prepared, and forgets it, in its cursor, which the reader uses for all other statements.
    """

    def __init__(self, connection: "BoundedConnection") -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._transformer = Transformer(connection)
        self._queries: dict[str, PostgresQuery] = {}
        self._formats: dict[bytes, Format] = {}  # of the rows, by the name of the statement

    def rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        if type(sql) is PreparableSQL and (rows := self._prepared(sql, parameters)) is not None:
            return rows
        return execute_read(self._cursor, sql, parameters).fetchall()

    def _prepared(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """Return the rows, or None if the server does not have the statement, or not for values of these types."""
        query = self._queries.get(sql)
        if query is None:
            if len(self._queries) >= QUERIES_MAX:
                self._queries.clear()
            query = self._queries[sql] = PostgresQuery(self._transformer)
            query.convert(sql, parameters)
        else:
            query.dump(parameters)
        prepare, name = self._connection._prepared.get(query)
        if prepare is not Prepare.YES:
            return None
        pgconn = self._connection.pgconn
        started = perf_counter()
        try:
            pgconn.send_query_prepared(
                name, query.params, param_formats=query.formats, result_format=self._formats.get(name, Format.TEXT)
            )
            [result] = self._connection.exchanged(execute(pgconn))
        finally:
            statement_observe(sql, perf_counter() - started)
        if result.status != ExecStatus.TUPLES_OK:
            error = error_from_result(result)
            if error.sqlstate in NOT_PREPARED:
                return None
            raise error
        if name not in self._formats:
            if len(self._formats) >= QUERIES_MAX:
                self._formats.clear()
            is_binary = BINARY.issuperset(map(result.ftype, range(result.nfields)))
            self._formats[name] = Format.BINARY if is_binary else Format.TEXT
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)
