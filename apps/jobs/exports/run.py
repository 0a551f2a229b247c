"""Running an export: rows in the order of their keys, in batches, each of which commits together with the checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from apps.jobs.context import JobContext
from apps.jobs.exports.formats import EXPORT_FORMATS, Format
from apps.jobs.models import CHUNK_BYTES
from apps.practices.database.declarations import Projected
from apps.practices.validation.serializers import StrictSerializer

BATCH_ROWS = 5_000  # of one transaction; a batch of long rows ends at CHUNK_BYTES
FETCH_ROWS = 50  # at a time: a row may hold a text of 100,000 characters


class ExportParametersSerializer(StrictSerializer):
    """The format of the file. Also the parameters of the job; an app adds the filters of its list."""

    format = serializers.ChoiceField(
        choices=list(EXPORT_FORMATS),
        default="csv",
        help_text="csv is for spreadsheets: a text that could be taken for a formula is prefixed with an apostrophe. "
        "ndjson is exact.",
    )


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """An app's export. ``rows``: what the owner may see, unordered. ``fields``: the columns of the file, in order."""

    name: str
    rows: QuerySet[Any]
    fields: Mapping[str, Projected]


@dataclass(kw_only=True)
class _Checkpoint:
    """The key of the last row in the file, and how many of the ``total`` rows are done."""

    total: int
    done: int = 0
    last: str | int | None = None


def export_run(context: JobContext, *, spec: ExportSpec, format: str) -> dict[str, Any]:
    """Write every row to the job's result file, from the last checkpoint, and return the job's result.

    Rows are ordered by primary key, which never changes: a row that exists throughout the export is in the file exactly once.
    The file is visible once the job has succeeded.
    """
    file_format = EXPORT_FORMATS[format]
    checkpoint = _Checkpoint(**(context.checkpoint or {"total": spec.rows.order_by().count()}))
    context.result_file(name=f"{spec.name}.{format}", content_type=file_format.content_type)
    while _write_batch(context, spec, file_format, checkpoint):
        pass
    return {"rows": checkpoint.done, "format": format}


def _write_batch(context: JobContext, spec: ExportSpec, file_format: Format, checkpoint: _Checkpoint) -> bool:
    """Append at most CHUNK_BYTES, or a single longer row. Return whether rows may be left."""
    with context.step() as step:
        block = bytearray() if checkpoint.done else bytearray(file_format.header(list(spec.fields)))
        count, last, is_last_batch = 0, checkpoint.last, True
        for row in _rows_after(spec, checkpoint.last):
            line = file_format.row({name: field.value(row) for name, field in spec.fields.items()})
            if count and len(block) + len(line) > CHUNK_BYTES:
                is_last_batch = False
                break
            block += line
            count, last = count + 1, row["pk"]
        checkpoint.done += count
        checkpoint.last = last if isinstance(last, int) or last is None else str(last)
        step.append_result(bytes(block))
        step.save(checkpoint=asdict(checkpoint), done=checkpoint.done, total=max(checkpoint.total, checkpoint.done))
    return not is_last_batch or count == BATCH_ROWS


def _rows_after(spec: ExportSpec, last: str | int | None) -> Any:
    """Read the rows after a key, FETCH_ROWS at a time, with a cursor that ends with the transaction."""
    columns = dict.fromkeys(column for field in spec.fields.values() for column in field.columns)
    rows = spec.rows.order_by("pk")
    if last is not None:
        rows = rows.filter(pk__gt=last)
    return rows.values("pk", *columns)[:BATCH_ROWS].iterator(chunk_size=FETCH_ROWS)
