"""How a row becomes bytes: CSV that a spreadsheet may open, or NDJSON that says exactly what is stored.

Both are spelled as an import reads them: a list is its words with semicolons between, a time is RFC 3339 in UTC.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.core.serializers.json import DjangoJSONEncoder

from apps.practices.validation.csv import csv_row

SEPARATOR = ";"


@dataclass(frozen=True, kw_only=True)
class Format:
    """``head`` gives the bytes before the first row, ``line`` those of one row; both get what the columns are called."""

    content_type: str
    head: Callable[[Sequence[str]], bytes]
    line: Callable[[Mapping[str, Any]], bytes]


def _csv_head(names: Sequence[str]) -> bytes:
    """Return the header after a byte order mark, without which Excel reads the file in the machine's old code page."""
    return codecs.BOM_UTF8 + csv_row(names)


def _csv_line(row: Mapping[str, Any]) -> bytes:
    return csv_row([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    """Give a value as text, but numbers as they are: a negative one is no formula."""
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


def _json_line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


EXPORT_FORMATS: dict[str, Format] = {
    "csv": Format(content_type="text/csv; charset=utf-8", head=_csv_head, line=_csv_line),
    "ndjson": Format(content_type="application/x-ndjson", head=lambda names: b"", line=_json_line),
}
