"""The export itself: rows in the order of their keys, in batches, each of which commits with the point to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet

from apps.jobs.context import JobContext
from apps.jobs.exports.formats import EXPORT_FORMATS, Format
from apps.jobs.models import CHUNK_BYTES
from apps.practices.database.declarations import Projected

BATCH_ROWS = 5_000  # at most, of a transaction; short rows leave it before their bytes do
FETCHED_ROWS = 50  # at a time: a row may hold a text of 100,000 characters


@dataclass(frozen=True, kw_only=True)
class Export:
    """An app's export. ``rows``: what the owner may see, unordered. ``fields``: the file's columns, in their order."""

    name: str
    rows: QuerySet[Any]
    fields: Mapping[str, Projected]


@dataclass(kw_only=True)
class _Point:
    """The checkpoint: the key of the last row that is in the file, and how many of the ``total`` are."""

    total: int
    done: int = 0
    last: str | int | None = None


def export_run(context: JobContext, *, source: Export, format: str) -> dict[str, Any]:
    """Write every row of the source into the job's result file, from where the last attempt left off.

    Rows go by primary key, which never changes: one that exists from beginning to end is in the file once, whatever happens
    to others meanwhile. The file is published by the job's success; until then nobody sees it.
    """
    written = EXPORT_FORMATS[format]
    point = _Point(**context.checkpoint) if context.checkpoint else _Point(total=source.rows.order_by().count())
    context.result_file(name=f"{source.name}.{format}", content_type=written.content_type)
    while _batch(context, source, written, point):
        pass
    return {"rows": point.done, "format": format}


def _batch(context: JobContext, source: Export, written: Format, point: _Point) -> bool:
    """Append at most CHUNK_BYTES, or one row, and say whether there may be more."""
    with context.step() as step:
        held = bytearray() if point.done else bytearray(written.head(list(source.fields)))
        count, last, is_end = 0, point.last, True
        for row in _following(source, point.last):
            line = written.line({name: field.value(row) for name, field in source.fields.items()})
            if count and len(held) + len(line) > CHUNK_BYTES:
                is_end = False
                break
            held += line
            count, last = count + 1, row["pk"]
        point.done, point.last = point.done + count, last if isinstance(last, int) or last is None else str(last)
        step.append_result(bytes(held))
        step.save(checkpoint=asdict(point), done=point.done, total=max(point.total, point.done))
    return not is_end or count == BATCH_ROWS


def _following(source: Export, last: str | int | None) -> Any:
    """Read the rows after a key, FETCHED_ROWS at a time, by a cursor that ends with the transaction."""
    columns = dict.fromkeys(column for field in source.fields.values() for column in field.columns)
    rows = source.rows.order_by("pk")
    if last is not None:
        rows = rows.filter(pk__gt=last)
    return rows.values("pk", *columns)[:BATCH_ROWS].iterator(chunk_size=FETCHED_ROWS)
