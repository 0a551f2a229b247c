"""Rows that the database refuses: each is found and rejected, and the others of its batch go in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import Error as DatabaseError
from django.db import connection, transaction

from apps.jobs.imports.outcomes import OnConflict, Outcome, Upsert
from apps.jobs.imports.rows import ImportRow, Rejection
from apps.practices.errors.mapping import problem_from

# Classes of SQLSTATE (PostgreSQL, appendix A) that speak of a row's values: a value that its column cannot hold, a broken
# constraint, an index entry or a text beyond PostgreSQL's limits. Without a code it is psycopg that could not write the value.
_OF_ROWS = ("22", "23", "54")


def storable(
    *, rows: Sequence[ImportRow], upsert: Upsert, on_conflict: OnConflict
) -> Mapping[str, Outcome | Rejection]:
    """Store rows of different keys by ``upsert``, and return by key what became of each.

    A batch that PostgreSQL refuses because of a row is undone and stored by halves, down to that row, which is rejected. That is
    about ten statements for one row in a thousand. Raises what is no row's fault: the batch is then tried again as a whole.
    """
    try:
        with transaction.atomic():
            outcomes = upsert(rows=rows, on_conflict=on_conflict)
            connection.check_constraints()  # those that wait for the end of the transaction, while one can tell whose they are
            return outcomes
    except DatabaseError as error:
        if not _is_of_rows(error):
            raise
        if len(rows) == 1:
            return {rows[0].key: _refused(error)}
    middle = len(rows) // 2
    halves = (rows[:middle], rows[middle:])
    first, second = (storable(rows=half, upsert=upsert, on_conflict=on_conflict) for half in halves)
    return {**first, **second}


def _is_of_rows(error: DatabaseError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state[:2] in _OF_ROWS if state else type(error).__name__ == "DataError"


def _refused(error: DatabaseError) -> Rejection:
    """Say what the API would say of such a row; never what PostgreSQL says, which holds the row's values."""
    problem = problem_from(error)
    if problem is not None and problem.errors:
        return Rejection(*problem.errors[0])
    detail = (
        "The database refuses this row: a value is too large, or contradicts another. Correct it and import it again."
    )
    return Rejection("", "refused", detail)
