"""PostgreSQL about itself, in read-only statements, each with a time limit of its own.

A statement that fails (no permission, no extension, too slow) leaves its error in the place of its rows. Texts of statements
are shown only where PostgreSQL has replaced their values by parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.template.defaultfilters import filesizeformat

from apps.operations.dashboard.plots import UNKNOWN, figure
from apps.operations.dashboard.sections import Column, Table, lasting
from apps.practices.observability.redaction import redact_text

_BOUNDS = "SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '500ms'; SET LOCAL lock_timeout = '100ms'"
_HELP = (
    "pg_stat_statements is not installed. Add it to shared_preload_libraries, restart PostgreSQL, and run "
    "CREATE EXTENSION pg_stat_statements in this database."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A statement and how its columns are shown: a title and a function of the value. The first column is the row's name."""

    caption: str
    sql: str
    shown: Mapping[str, Callable[[Any], str]]
    empty: str
    note: str = ""


def _text(value: Any) -> str:
    return UNKNOWN if value in (None, "") else str(value)


def _bytes(value: Any) -> str:
    return UNKNOWN if value is None else filesizeformat(value).replace("\xa0", " ")


def _number(value: Any) -> str:
    return figure(None if value is None else float(value))


def _lasting(value: Any) -> str:
    return UNKNOWN if value is None else lasting(float(value))


_TABLES = Report(
    caption="Largest tables",
    sql="""
SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_live_tup,
    100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0),
    extract(epoch FROM now() - greatest(last_vacuum, last_autovacuum))
FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC LIMIT 12
""",
    shown={"Table": _text, "Size": _bytes, "Indexes": _bytes, "Rows": _number, "Dead %": _number, "Vacuumed": _lasting},
    empty="No tables.",
    note="Dead: rows that vacuum has yet to remove, by PostgreSQL's own estimate. It shows bloat only in part.",
)
_UNUSED = Report(
    caption="Indexes that no query has used",
    sql="""
SELECT indexrelname, relname, pg_relation_size(indexrelid)
FROM pg_stat_user_indexes JOIN pg_index USING (indexrelid)
WHERE idx_scan = 0 AND NOT indisunique AND pg_relation_size(indexrelid) > 65536
ORDER BY pg_relation_size(indexrelid) DESC LIMIT 12
""",
    shown={"Index": _text, "Table": _text, "Size": _bytes},
    empty="None of more than 64 kB.",
    note="Since PostgreSQL's statistics were last reset, on this server only: a replica may use them.",
)
_TRANSACTIONS = Report(
    caption="Oldest transactions",
    sql="""
SELECT application_name || ' ' || pid, state, wait_event_type, extract(epoch FROM clock_timestamp() - xact_start)
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 5
""",
    shown={"Session": _text, "State": _text, "Waits for": _text, "Age": _lasting},
    empty="No transaction is open.",
)
_CONNECTIONS = Report(
    caption="Connections",
    sql="""
SELECT coalesce(nullif(application_name, ''), '(no name)'), count(*), count(*) FILTER (WHERE state = 'active'),
    count(*) FILTER (WHERE state LIKE 'idle in transaction%'), count(*) FILTER (WHERE wait_event_type = 'Lock'),
    current_setting('max_connections')
FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC LIMIT 12
""",
    shown={
        "Application": _text,
        "Open": _number,
        "Active": _number,
        "Idle in transaction": _number,
        "Waiting for a lock": _number,
        "Limit of the server": _text,
    },
    empty="None.",
)
_REPLICAS = Report(
    caption="Replicas",
    sql="""
SELECT coalesce(nullif(application_name, ''), 'replica') || ' ' || coalesce(host(client_addr), 'local'), state,
    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), extract(epoch FROM replay_lag)
FROM pg_stat_replication ORDER BY 3 DESC NULLS LAST LIMIT 12
""",
    shown={"Replica": _text, "State": _text, "Behind by": _bytes, "Lag": _lasting},
    empty="No replica is connected to this server.",
)
REPORTS = (_CONNECTIONS, _TRANSACTIONS, _TABLES, _UNUSED, _REPLICAS)

# Of statements that change data or read it. Others, such as ALTER ROLE … PASSWORD, may be kept with their values.
_SLOWEST = r"""
SELECT left(query, 300), calls, mean_exec_time, total_exec_time / 1000, rows
FROM {schema}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND query ~* '^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\M'
ORDER BY total_exec_time DESC LIMIT 10
"""
_EXTENSION = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'pg_stat_statements'
"""
_STATEMENTS = Report(
    caption="Statements that took the most time",
    sql="",
    shown={
        "Statement": lambda value: redact_text(" ".join(str(value).split())),
        "Calls": _number,
        "Mean ms": _number,
        "Total s": _number,
        "Rows": _number,
    },
    empty="None is recorded.",
    note="Since pg_stat_statements was last reset. $1, $2 … are values, which it does not keep.",
)


def rows_read(sql: str) -> Sequence[Sequence[Any]]:
    """Return the rows of a statement, in a read-only transaction of at most half a second. Raise DatabaseError."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_BOUNDS)
        cursor.execute(sql)
        return cursor.fetchall()


def table_of(report: Report, *, sql: str | None = None) -> Table:
    """Return the rows of a report as a table, or the table with the error."""
    heads = [Column(title=title, is_number=shown is not _text) for title, shown in report.shown.items()]
    try:
        found = rows_read(report.sql if sql is None else sql)
    except DatabaseError as error:
        return Table(caption=report.caption, columns=heads, error=_reason(error))
    rows = [[shown(value) for shown, value in zip(report.shown.values(), row, strict=True)] for row in found]
    return Table(caption=report.caption, columns=heads, rows=rows, empty=report.empty, note=report.note)


def statements_table() -> Table:
    """Return the slowest statements, or how to have them recorded."""
    try:
        found = rows_read(_EXTENSION)
    except DatabaseError as error:
        return Table(caption=_STATEMENTS.caption, columns=[], error=_reason(error))
    if not found:
        return Table(caption=_STATEMENTS.caption, columns=[], empty=_HELP)
    return table_of(_STATEMENTS, sql=_SLOWEST.format(schema=found[0][0]))


def tables() -> list[Table]:
    """Return all reports. If PostgreSQL is down, only the first says so: the others would wait for it as well."""
    first, *others = REPORTS
    found = [table_of(first)]
    if found[0].error:
        return found
    return [*found, statements_table(), *(table_of(report) for report in others)]


def _reason(error: DatabaseError) -> str:
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) == "57014":
        return "PostgreSQL did not finish this within half a second."
    return f"PostgreSQL refused this, or did not answer: {redact_text(str(error)).strip().splitlines()[0]}"
