"""Empty all tables after a test that commits. TRUNCATE takes many times as long on small tables: it replaces every file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.backends.postgresql.operations import DatabaseOperations

LARGE = 256 * 1024  # bytes of a table above which TRUNCATE is the faster way
_truncate = DatabaseOperations.sql_flush


def sql_flush(operations: DatabaseOperations, style: Any, tables: Collection[str], **options: Any) -> list[str]:
    """Return DELETEs under the locks that TRUNCATE would take, so that it waits for transactions that still write."""
    with operations.connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_class WHERE relname = ANY(%s) AND pg_relation_size(oid) > %s", [[*tables], LARGE]
        )
        if not tables or options.get("reset_sequences") or cursor.fetchone():
            return list(_truncate(operations, style, tables, **options))
    names = [operations.quote_name(table) for table in tables]
    deletes = (f"DELETE FROM {name}" for name in names)
    return ["; ".join((f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE", *deletes))]


def flush_quickly() -> None:
    """Replace what Django empties tables with."""
    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]  # for tests alone
