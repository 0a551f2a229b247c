"""Validation of rows, a batch at a time, in a thread that works while the batch before is stored."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from rest_framework.exceptions import ValidationError

from apps.jobs.imports.rows import ImportRow, ImportSpec, Rejection, SourceRow
from apps.practices.errors.pointers import field_errors
from apps.practices.errors.problems import error_cut

# Errors kept of one row. A hostile file has rows with as many errors as characters, and all are stored in the checkpoint.
ROW_ERRORS_MAX = 20

CheckedRow = tuple[int, ImportRow | Rejection]  # the line, and the row or why it is rejected


def batches_validate(batches: Iterable[list[SourceRow]], spec: ImportSpec) -> Iterator[list[CheckedRow]]:
    """Validate each batch in a thread while the caller stores the one before it: Python and PostgreSQL work in parallel.

    ``batches`` is read in the caller's thread, which owns the database connection.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="import") as pool:
        previous: Future[list[CheckedRow]] | None = None
        for batch in batches:
            current = pool.submit(batch_validate, batch, spec)
            if previous is not None:
                yield previous.result()
            previous = current
        if previous is not None:
            yield previous.result()


def batch_validate(batch: Iterable[SourceRow], spec: ImportSpec) -> list[CheckedRow]:
    """Validate the rows of a batch, and equal ones once: a file of short rows holds hundreds of each.

    Valid rows are validated twice first. If the results differ, a default sets a new value each time (an id, a time), and
    every row is validated on its own.
    """
    first_results: dict[int, ImportRow | Rejection] = {}  # by id() of the cells, which the batch keeps alive
    reusable: set[int] = set()
    checked: list[CheckedRow] = []
    for row in batch:
        line, _, cells = row
        cells_id = id(cells)
        result = first_results.get(cells_id)
        if result is None:
            result = first_results[cells_id] = row_validate(row, spec)
        elif isinstance(result, ImportRow) and cells_id in reusable:
            result = ImportRow(line, spec.key(result.values), result.values)
        elif isinstance(result, ImportRow):
            first, result = result, row_validate(row, spec)
            if isinstance(result, ImportRow) and result.values == first.values:
                reusable.add(cells_id)
        checked.append((line, result))
    return checked


def row_validate(row: SourceRow, spec: ImportSpec) -> ImportRow | Rejection:
    """Return the validated row, or why it is rejected.

    All rows pass through one serializer: creating one costs several times as much as the validation.
    """
    if isinstance(row.cells, Rejection):
        return row.cells
    try:
        values = spec.serializer.run_validation(row.cells)
    except ValidationError as error:
        first, *rest = (Rejection(*error_cut(fault)) for fault in field_errors(error.detail)[:ROW_ERRORS_MAX])
        return Rejection(first.pointer, first.code, first.detail, tuple(rest))
    return ImportRow(row.line, spec.key(values), values)
