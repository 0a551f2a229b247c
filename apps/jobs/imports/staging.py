"""Rows into a temporary table by COPY, the fastest way in; what then becomes of them is one or two set-wise statements.

COPY itself knows no ON CONFLICT, hence the detour.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from psycopg import sql


@contextmanager
def staged(*, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Fill the temporary ``table`` (columns: name to SQL type) with ``rows`` and lend the cursor.

    Belongs into the transaction of the batch. What a batch before left there is gone. Names and types are the code's own,
    never input.
    """
    name = sql.Identifier(table)
    definitions = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns.items()
    )
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ({})").format(name, definitions))
        cursor.execute(sql.SQL("TRUNCATE {}").format(name))
        # Django wraps the errors of `execute`, not of `copy`.
        with (
            connection.wrap_database_errors,
            cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, names)) as copy,
        ):
            for row in rows:
                copy.write_row(row)
        yield cursor
