"""Exports: every row of a queryset as CSV or NDJSON, in batches that can be resumed, in constant memory.

CSV is safe in a spreadsheet, NDJSON is exact, and an import reads both: lists of words are separated by semicolons, times are
RFC 3339 in UTC. Each batch commits together with the checkpoint.
"""

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from rest_framework import serializers

from apps.jobs.context import JobContext
from apps.jobs.models import CHUNK_BYTES
from apps.practices.database.declarations import Projected
from apps.practices.validation.csv import csv_row
from apps.practices.validation.serializers import StrictSerializer

SEPARATOR = ";"
BATCH_ROWS = 5_000  # of one transaction; a batch of long rows ends at CHUNK_BYTES
FETCH_ROWS = 50  # at a time: a row may hold a text of 100,000 characters


@dataclass(frozen=True, kw_only=True)
class Format:
    """How to write a file: ``header`` returns the bytes before the first row, from the column names; ``row`` those of one row."""

    content_type: str
    header: Callable[[Sequence[str]], bytes]
    row: Callable[[Mapping[str, Any]], bytes]


def _csv_header(names: Sequence[str]) -> bytes:
    """Return the header with a byte order mark, without which Excel does not read the file as UTF-8."""
    return codecs.BOM_UTF8 + csv_row(names)


def _csv_row(row: Mapping[str, Any]) -> bytes:
    return csv_row([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    """Return the value as text. Numbers stay numbers: a negative one is not a formula."""
    match value:
        case None | str() | Decimal():
            return value
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case list() if all(isinstance(word, str) for word in value):
            return SEPARATOR.join(value)
        case list() | dict():
            return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    return value


def _json_row(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


EXPORT_FORMATS: dict[str, Format] = {
    "csv": Format(content_type="text/csv; charset=utf-8", header=_csv_header, row=_csv_row),
    "ndjson": Format(content_type="application/x-ndjson", header=lambda names: b"", row=_json_row),
}


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

    Ordered by primary key, which never changes, a row that exists throughout the export is in the file exactly once.
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
