"""Running an import: read, validate and store batches, each of which commits together with the checkpoint."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import orjson

from apps.jobs.context import JobContext
from apps.jobs.imports.formats import IMPORT_FORMATS
from apps.jobs.imports.rows import ImportRow, ImportSpec, OnConflict, Outcome, Rejection, SourceRow
from apps.jobs.imports.storage import rows_store
from apps.jobs.imports.validation import CheckedRow, RowChecker

BATCH_ROWS = 500
BATCH_CHARACTERS = 2 * 1024**2  # bounds memory when rows are long
ERRORS_SHOWN = 100
REJECTED_BYTES = 2 * 1024**2  # size of the file of rejected rows: a hostile file makes each longer than the row
NDJSON = "application/x-ndjson"


@dataclass(kw_only=True)
class ImportCheckpoint:
    """How many of the file's ``total`` rows are done, and what became of them."""

    total: int
    rows: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    errors_listed: int = 0
    errors_bytes: int = 0

    def add(self, outcomes: Mapping[int, Outcome | Rejection]) -> list[tuple[int, Rejection]]:
        """Count a batch's outcomes (by line), and return its rejections with their lines, in the order of the file."""
        rejected = []
        for line, outcome in sorted(outcomes.items()):
            if isinstance(outcome, Rejection):
                rejected.append((line, outcome))
            else:
                setattr(self, outcome, getattr(self, outcome) + 1)
        self.rows += len(outcomes)
        self.rejected += len(rejected)
        self.errors += [rejection.document(line) for line, rejection in rejected[: ERRORS_SHOWN - len(self.errors)]]
        return rejected

    def list_rejected(self, rejected: Sequence[tuple[int, Rejection]]) -> bytes:
        """Return these rejections as NDJSON, as long as the file of rejected rows stays within REJECTED_BYTES."""
        lines: list[bytes] = []
        if self.errors_listed < self.rejected - len(rejected):  # the file was full in an earlier batch
            return b""
        for number, rejection in rejected:
            line = orjson.dumps(rejection.document(number), option=orjson.OPT_APPEND_NEWLINE)
            if self.errors_bytes + len(line) > REJECTED_BYTES:
                break
            self.errors_bytes += len(line)
            lines.append(line)
        self.errors_listed += len(lines)
        return b"".join(lines)

    def result(self) -> dict[str, Any]:
        """Return the job's result: rows = created + updated + skipped + rejected."""
        return {name: value for name, value in asdict(self).items() if name not in ("total", "errors_bytes")}


def import_run(context: JobContext, *, spec: ImportSpec, format: str, on_conflict: OnConflict) -> dict[str, Any]:
    """Import the job's upload from its last checkpoint, and return the job's result.

    Raise ``ImportMalformed`` if the file's structure is broken, before any row is imported.
    """
    checkpoint = ImportCheckpoint(**(context.checkpoint or {"total": _count(context, spec, format)}))
    context.result_file(name="rejected.ndjson", content_type=NDJSON)
    with context.upload() as stream:
        rows = IMPORT_FORMATS[format](stream, spec.columns)
        remaining = islice(rows, checkpoint.rows, None)
        for batch in RowChecker(rows, spec).check(batches(remaining)):
            _store(context, batch, checkpoint, spec, on_conflict)
    return checkpoint.result()


def batches(rows: Iterable[SourceRow]) -> Iterator[list[SourceRow]]:
    """Group rows into batches of at most BATCH_ROWS, ended early at BATCH_CHARACTERS."""
    batch: list[SourceRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row[1]
        if len(batch) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _count(context: JobContext, spec: ImportSpec, format: str) -> int:
    """Return the number of rows. Reading the whole file first finds a broken structure before anything is stored."""
    total = 0
    with context.upload() as stream:
        for batch in batches(IMPORT_FORMATS[format](stream, spec.columns)):
            total += len(batch)
            context.progress(done=0, message=f"Reading line {batch[-1][0]}")
    return total


def _store(
    context: JobContext,
    batch: list[CheckedRow],
    checkpoint: ImportCheckpoint,
    spec: ImportSpec,
    on_conflict: OnConflict,
) -> None:
    """Store the batch's rows, its rejections and the checkpoint in one transaction."""
    outcomes: dict[int, Outcome | Rejection] = {line: row for line, row in batch if isinstance(row, Rejection)}
    rows = [row for _, row in batch if isinstance(row, ImportRow)]
    with context.step() as step:
        outcomes |= rows_store(rows, spec.upsert, on_conflict)
        rejected = checkpoint.add(outcomes)
        step.append_result(checkpoint.list_rejected(rejected))
        step.save(checkpoint=asdict(checkpoint), done=checkpoint.rows, total=checkpoint.total)
