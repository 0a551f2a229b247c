"""Storing a batch of valid rows: duplicates within it, and rows that PostgreSQL refuses."""

from collections.abc import Mapping, Sequence

from django.db import Error as DatabaseError
from django.db import connection, transaction

from apps.jobs.imports.rows import ImportRow, OnConflict, Outcome, Rejection, Upsert
from apps.practices.errors.mapping import problem_from

# SQLSTATE classes (PostgreSQL, appendix A) that blame a row: data exception, integrity constraint violation, program limit
# exceeded. An error without a code is psycopg's own, raised for a value that it cannot write.
_ROW_ERRORS = ("22", "23", "54")


def rows_store(rows: Sequence[ImportRow], upsert: Upsert, on_conflict: OnConflict) -> dict[int, Outcome | Rejection]:
    """Store rows in one go as if each were stored in turn, and return what became of each, by line.

    Of several rows with one key the first is stored, or with ``update`` the last. The others get the outcome that they would
    have had in turn: skipped, updated, or rejected as a conflict.
    """
    groups: dict[str, list[ImportRow]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    chosen = -1 if on_conflict is OnConflict.UPDATE else 0
    stored: Mapping[str, Outcome | Rejection] = {}
    if groups:
        stored = _upsert_or_halve([group[chosen] for group in groups.values()], upsert, on_conflict)
    outcomes: dict[int, Outcome | Rejection] = {}
    for key, (first, *repeated) in groups.items():
        outcomes[first.line] = stored[key]
        for row in repeated:
            outcomes[row.line] = stored[key] if isinstance(stored[key], Rejection) else _repeated(on_conflict)
    return outcomes


def _repeated(on_conflict: OnConflict) -> Outcome | Rejection:
    """Return the outcome of a row whose key an earlier row of the batch has."""
    if on_conflict is OnConflict.ERROR:
        return Rejection("", "conflict", "An earlier row of the file has the same key.")
    return Outcome.SKIPPED if on_conflict is OnConflict.SKIP else Outcome.UPDATED


def _upsert_or_halve(
    rows: Sequence[ImportRow], upsert: Upsert, on_conflict: OnConflict
) -> Mapping[str, Outcome | Rejection]:
    """Store rows of different keys, and return what became of each, by key.

    If PostgreSQL refuses the batch because of a row, undo it and store each half, down to that row, which is rejected. That
    takes about ten statements for one bad row in a thousand. Any other error is raised: the whole batch is tried again later.
    """
    try:
        with transaction.atomic():
            outcomes = upsert(rows=rows, on_conflict=on_conflict)
            connection.check_constraints()  # deferred ones too, while the rows that break them are known
            return outcomes
    except DatabaseError as error:
        if not _blames_a_row(error):
            raise
        if len(rows) == 1:
            return {rows[0].key: _rejection(error)}
    middle = len(rows) // 2
    return {
        **_upsert_or_halve(rows[:middle], upsert, on_conflict),
        **_upsert_or_halve(rows[middle:], upsert, on_conflict),
    }


def _blames_a_row(error: DatabaseError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state[:2] in _ROW_ERRORS if state else type(error).__name__ == "DataError"


def _rejection(error: DatabaseError) -> Rejection:
    """Return the API's response to such a row. PostgreSQL's message may hold the row's values, so it is not shown."""
    problem = problem_from(error)
    if problem is not None and problem.errors:
        return Rejection(*problem.errors[0])
    detail = (
        "The database refused this row: a value is too large or conflicts with another. Correct it and import it again."
    )
    return Rejection("", "refused", detail)
