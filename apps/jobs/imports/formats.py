"""Reading CSV (RFC 4180, a header in the first line) and NDJSON, record by record, within bounds.

A record that can be read but makes no sense is a rejected row. A file whose structure is broken (a quote that is never
closed, a line without end) stops the import there, since whatever followed would be guesswork.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from apps.jobs.imports.rows import Rejection, SourceRow
from apps.practices.errors import Unprocessable

RECORD_BYTES = 1024**2  # of a line, and of a CSV field: a file that never closes a quote is noticed here


class ImportMalformed(Unprocessable):
    """The file stops being one."""

    status = 422
    type = "import-malformed"
    title = "The file cannot be read"
    explanation = (
        "The file's structure breaks at the line that detail names. The rows before it are imported; mend the file and import "
        "it again."
    )


class HeaderRefused(ValueError):
    """The header is missing or names other columns; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that an import knows; ``required`` ones have to be in a CSV header."""

    known: Sequence[str]
    required: Sequence[str]


def csv_rows(stream: BinaryIO, columns: Columns) -> Iterator[SourceRow]:
    """Read records of CSV in UTF-8, with or without a byte order mark, whatever the line ends."""
    csv.field_size_limit(RECORD_BYTES)
    # A wrong byte becomes a lone surrogate, which the field that holds it refuses: the row is named, not just the file.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(_bounded_lines(text), strict=True)
    try:
        names = csv_header(next(reader, []), columns)
    except HeaderRefused as error:
        raise ImportMalformed(f"Line 1: {error}") from error
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ImportMalformed(f"Line {line}: {error}.") from error
        if record:
            size = sum(map(len, record))
            yield SourceRow(line, size, _cells(names, record))


def csv_header(record: Sequence[str], columns: Columns) -> list[str]:
    """Give the names of the columns, or raise ``HeaderRefused`` naming what is wrong with them."""
    names = [name.strip().lower() for name in record]
    if not any(names):
        raise HeaderRefused("a header with the names of the columns is missing.")
    unknown = [name for name in names if name not in columns.known]
    missing = [name for name in columns.required if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise HeaderRefused(
            f"the columns are {', '.join(columns.known)}, of which {', '.join(columns.required)} have to be there, "
            f"each once; the header says {', '.join(names)[:300]}."
        )
    return names


def ndjson_rows(stream: BinaryIO, columns: Columns) -> Iterator[SourceRow]:
    """Read one JSON object a line; empty lines count as lines and are passed over."""
    line = 0
    while data := stream.readline(RECORD_BYTES + 1):
        line += 1
        if len(data) > RECORD_BYTES:
            raise ImportMalformed(f"Line {line}: longer than {RECORD_BYTES} bytes.")
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if data.strip():
            yield SourceRow(line, len(data), _document(data))


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Give lines of at most RECORD_BYTES characters; a longer one comes in pieces, which the field limit then refuses."""
    while line := text.readline(RECORD_BYTES + 1):
        yield line


def _cells(names: list[str], record: list[str]) -> dict[str, str] | Rejection:
    """Pair names and cells. An empty cell is a value that is not given."""
    if len(record) != len(names):
        detail = f"The row has {len(record)} cells where the header has {len(names)}."
        return Rejection("", "columns", detail)
    return {name: cell for name, cell in zip(names, record, strict=True) if cell}


def _document(data: bytes) -> dict[str, Any] | Rejection:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return Rejection("", "malformed", f"The line is not JSON: {error.msg}.")
    if not isinstance(document, dict):
        return Rejection("", "malformed", "The line is not a JSON object.")
    return document


IMPORT_FORMATS: dict[str, Callable[[BinaryIO, Columns], Iterator[SourceRow]]] = {
    "csv": csv_rows,
    "ndjson": ndjson_rows,
}
