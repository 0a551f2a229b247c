"""The import itself: read, validate, upsert in batches, each of which commits with the point to go on from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from typing import Any

from django.urls import reverse
from rest_framework.exceptions import ValidationError

from apps.jobs.context import JobContext
from apps.jobs.imports.formats import import_rows
from apps.jobs.imports.outcomes import Import, OnConflict, Outcome, Tally, Upsert, conflict
from apps.jobs.imports.rows import ImportRow, Rejection, SourceRow
from apps.jobs.imports.storing import storable
from apps.practices.errors.pointers import field_errors
from apps.practices.errors.problems import error_cut

BATCH_ROWS = 1000
BATCH_CHARACTERS = 2 * 1024**2  # memory stays flat whatever the rows' size
NDJSON = "application/x-ndjson"
# What is said about one row, which a hostile file makes as long as the row: it is kept in checkpoint and result.
ROW_ERRORS = 20

_Checked = tuple[int, ImportRow | Rejection]  # by the line of the record


def import_run(context: JobContext, *, source: Import, format: str, on_conflict: OnConflict) -> dict[str, Any]:
    """Import the job's upload from where the last attempt left off, and give the result that the API documents.

    Raises ``ImportMalformed`` where the file's structure breaks, before any row is imported.
    """
    tally = Tally(**context.checkpoint) if context.checkpoint else Tally(total=_count(context, source, format))
    context.result_file(name="rejected.ndjson", content_type=NDJSON)
    with context.upload() as stream:
        records = islice(import_rows(stream, format, source.columns), tally.rows, None)
        for batch in _validated_ahead(_batches(records), source):
            _store(context, batch, tally, source, on_conflict)
    return tally.result() | {"errors_url": reverse("jobs:result", kwargs={"id": context.job.pk})}


def _count(context: JobContext, source: Import, format: str) -> int:
    """Read the whole file once: for the total that progress is measured by, and to find a broken structure first."""
    total = 0
    with context.upload() as stream:
        for record in import_rows(stream, format, source.columns):
            total += 1
            context.progress(done=0, message=f"reading line {record.line}")
    return total


def _batches(records: Iterator[SourceRow]) -> Iterator[list[SourceRow]]:
    """Group records so that neither their number nor their size grows beyond a bound."""
    batch: list[SourceRow] = []
    size = 0
    for record in records:
        batch.append(record)
        size += record.size
        if len(batch) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _validated_ahead(batches: Iterable[list[SourceRow]], source: Import) -> Iterator[list[_Checked]]:
    """Validate each batch in a thread while the one before it is stored: Python and PostgreSQL work at the same time.

    Records are still read in the caller's thread, which has the connection.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="import") as pool:
        ahead: Future[list[_Checked]] | None = None
        for batch in batches:
            following = pool.submit(_validated_batch, batch, source)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def _validated_batch(batch: Iterable[SourceRow], source: Import) -> list[_Checked]:
    """Validate the rows of a batch, those that share their cells once: a file of three bytes a row has hundreds of each.

    Rows that pass are validated twice first. Where the values differ, a default makes them (an id, a time), and each row is
    validated for itself.
    """
    seen: dict[int, ImportRow | Rejection] = {}  # by the identity of the cells, which the batch keeps alive
    settled: set[int] = set()
    checked: list[_Checked] = []
    for record in batch:
        line, _, cells = record
        place = id(cells)
        found = seen.get(place)
        if isinstance(found, ImportRow):
            if place in settled:
                found = ImportRow(line, source.key(found.values), found.values)
            else:
                before, found = found, _validated(record, source)
                if isinstance(found, ImportRow) and found.values == before.values:
                    settled.add(place)
        elif found is None:
            found = seen[place] = _validated(record, source)
        checked.append((line, found))
    return checked


def _store(context: JobContext, batch: list[_Checked], tally: Tally, source: Import, on_conflict: OnConflict) -> None:
    """Store rows, rejections and checkpoint in one transaction."""
    outcomes: dict[int, Outcome | Rejection] = {line: row for line, row in batch if isinstance(row, Rejection)}
    rows = [row for _, row in batch if isinstance(row, ImportRow)]
    with context.step() as step:
        outcomes |= _upserted(rows, source.upsert, on_conflict)
        rejected = tally.add(outcomes)
        step.append_result(tally.listed(rejected))
        step.save(checkpoint=asdict(tally), done=tally.rows, total=tally.total)


def _validated(record: SourceRow, source: Import) -> ImportRow | Rejection:
    """Pass the cells through the one serializer: building one a row costs several times the validation itself."""
    if isinstance(record.cells, Rejection):
        return record.cells
    try:
        values = source.serializer.run_validation(record.cells)
    except ValidationError as error:
        first, *rest = (Rejection(*error_cut(one)) for one in field_errors(error.detail)[:ROW_ERRORS])
        return Rejection(first.pointer, first.code, first.detail, tuple(rest))
    return ImportRow(record.line, source.key(values), values)


def _upserted(rows: Sequence[ImportRow], upsert: Upsert, on_conflict: OnConflict) -> dict[int, Outcome | Rejection]:
    """Store the rows as if one after another, though they go in at once; give what became of each, by line.

    Of several rows with one key the first is stored, or with ``update`` the last. The others are what they would have been
    had they come later and alone: skipped, updated, or rejected for the conflict.
    """
    groups: dict[str, list[ImportRow]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    chosen = -1 if on_conflict is OnConflict.UPDATE else 0
    stored: Mapping[str, Outcome | Rejection] = {}
    if groups:
        stored = storable(rows=[group[chosen] for group in groups.values()], upsert=upsert, on_conflict=on_conflict)
    outcomes: dict[int, Outcome | Rejection] = {}
    for key, (first, *repeated) in groups.items():
        outcomes[first.line] = stored[key]
        for row in repeated:
            outcomes[row.line] = stored[key] if isinstance(stored[key], Rejection) else _repeated(on_conflict)
    return outcomes


def _repeated(on_conflict: OnConflict) -> Outcome | Rejection:
    """What becomes of a row whose key an earlier row of the same batch has."""
    if on_conflict is OnConflict.ERROR:
        return conflict("The same record comes earlier in the file.")
    return Outcome.SKIPPED if on_conflict is OnConflict.SKIP else Outcome.UPDATED
