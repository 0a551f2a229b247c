"""The file formats of an export: CSV that is safe in a spreadsheet, and NDJSON that is exact.

An import reads both: lists of words are separated by semicolons, times are RFC 3339 in UTC.
"""

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
