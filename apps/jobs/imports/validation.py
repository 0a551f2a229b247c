"""Validation of rows, a batch at a time, in a thread that works while the batch before is stored."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from apps.jobs.imports.formats import Rows
from apps.jobs.imports.rows import ImportRow, ImportSpec, Rejection, SourceRow
from apps.practices.errors import FieldError
from apps.practices.validation.rows import RowValidator

# Errors kept of one row. A hostile file has rows with as many errors as characters, and all are stored in the checkpoint.
ROW_ERRORS_MAX = 20

# Equal rows of so many characters are validated once per batch. A file of many equal rows has short ones.
SHORT = 100
SWITCH_SECONDS = 0.0005

CheckedRow = tuple[int, ImportRow | Rejection]  # the line, and the row or why it is rejected


class RowChecker:
    """Validates the rows of a file, a batch at a time."""

    def __init__(self, rows: Rows, spec: ImportSpec) -> None:
        self._cells = rows.cells
        self._key = spec.key
        self._validator = RowValidator(spec.serializer, is_text=rows.is_text)

    def check(self, batches: Iterable[list[SourceRow]]) -> Iterator[list[CheckedRow]]:
        """Validate each batch in a thread while the caller stores the one before it: Python and PostgreSQL work in parallel.

        ``batches`` is read in the caller's thread, which owns the database connection.
        """
        with _switching_often(), ThreadPoolExecutor(max_workers=1, thread_name_prefix="import") as pool:
            previous: Future[list[CheckedRow]] | None = None
            for batch in batches:
                current = pool.submit(self.check_batch, batch)
                if previous is not None:
                    yield previous.result()
                previous = current
            if previous is not None:
                yield previous.result()

    def check_batch(self, batch: Iterable[SourceRow]) -> list[CheckedRow]:
        """Validate the rows of a batch. Equal short rows share their values, unless a default is computed for each row."""
        checked: list[CheckedRow] = []
        known: dict[Any, Mapping[str, Any] | Rejection] = {}
        for line, size, raw in batch:
            result = known.get(raw) if size <= SHORT else None
            if result is None:
                result = self.check_row(raw)
                if size <= SHORT and (self._validator.is_repeatable or isinstance(result, Rejection)):
                    known[raw] = result
            checked.append(
                (line, result if isinstance(result, Rejection) else ImportRow(line, self._key(result), result))
            )
        return checked

    def check_row(self, raw: Any) -> Mapping[str, Any] | Rejection:
        """Return the validated values, or why the row is rejected."""
        cells = self._cells(raw)
        if isinstance(cells, Rejection):
            return cells
        result = self._validator(cells)
        return _rejection(result) if isinstance(result, tuple) else result


@contextmanager
def _switching_often() -> Iterator[None]:
    """Shorten the waits of the thread that stores for the one that validates: by default, 5 ms after each query."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@lru_cache(1_000)
def _rejection(errors: tuple[FieldError, ...]) -> Rejection:
    first, *rest = (Rejection(*error) for error in errors[:ROW_ERRORS_MAX])
    return Rejection(first.pointer, first.code, first.detail, tuple(rest))
