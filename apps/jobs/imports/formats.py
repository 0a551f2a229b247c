"""Reading CSV (RFC 4180, a header in the first line) and NDJSON, record by record, within bounds.

A record that can be read but makes no sense is a rejected row. A file whose structure is broken (a quote that is never
closed, a line without end) imports nothing, since whatever followed would be guesswork.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from apps.jobs.imports.rows import POINTER_LENGTH, Rejection, SourceRow
from apps.practices.errors import Malformed, Unprocessable, ValidationProblem
from apps.practices.validation.parsers import json_bounded

RECORD_BYTES = (
    1024**2
)  # of an NDJSON line; characters of a CSV record: a file that never closes a quote is noticed here
RECORD_DEPTH = 8  # levels of an NDJSON line
RECORD_MEMBERS = 2_000  # values in it
RECORDS_MAX = 1_000_000  # of a file: each leaves a line in the result when it is rejected, longer than itself


class ImportMalformed(Unprocessable):
    """The file stops being one."""

    status = 422
    type = "import-malformed"
    title = "The file cannot be read"
    explanation = (
        "The file's structure breaks at the line that detail names, so none of its rows is imported. Mend the file and import "
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
    csv.field_size_limit(RECORD_BYTES + 1)  # the lines below are bounded; the library's own limit is lower
    # A wrong byte becomes a lone surrogate, which the field that holds it refuses: the row is named, not just the file.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_records(text, columns)
    finally:
        if not stream.closed:
            text.detach()  # or it would close the stream, which is the caller's


def _csv_records(text: io.TextIOWrapper, columns: Columns) -> Iterator[SourceRow]:
    lines = _BoundedLines(text)
    reader = csv.reader(lines, strict=True)
    try:
        names = csv_header(next(reader, []), columns)
    except (HeaderRefused, csv.Error) as error:
        raise ImportMalformed(f"Line 1: {error}") from error
    while True:
        line = reader.line_num + 1
        lines.characters = 0
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ImportMalformed(f"Line {line}: {error}.") from error
        if record:
            yield SourceRow(line, lines.characters, _cells(names, record))


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
    """Read one JSON object a line, as strictly as a body of the API; empty lines count as lines and are passed over.

    No more than a line is in memory. A line that is no object, or holds a name twice, is a rejected row.
    """
    line = 0
    while data := stream.readline(RECORD_BYTES + 1):
        line += 1
        if len(data) > RECORD_BYTES:
            raise ImportMalformed(f"Line {line}: longer than {RECORD_BYTES} bytes.")
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if data.strip():
            yield SourceRow(line, len(data), _document(data))


class _BoundedLines:
    """The lines of a text, for a reader of records that may go over several; ``characters`` counts those of one record.

    Raises ``csv.Error``, as the reader itself would, for a record of more than RECORD_BYTES characters, before it is whole.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(RECORD_BYTES + 1)
        self.characters += len(line)
        if not line:
            raise StopIteration
        if self.characters > RECORD_BYTES:
            raise csv.Error(f"a record of more than {RECORD_BYTES} characters; is a quote not closed?")
        return line


def _cells(names: list[str], record: list[str]) -> dict[str, str] | Rejection:
    """Pair names and cells. An empty cell is a value that is not given."""
    if len(record) != len(names):
        detail = f"The row has {len(record)} cells where the header has {len(names)}."
        return Rejection("", "columns", detail)
    return {name: cell for name, cell in zip(names, record, strict=True) if cell}


def _document(data: bytes) -> dict[str, Any] | Rejection:
    try:
        document = json_bounded(data.strip(), depth=RECORD_DEPTH, members=RECORD_MEMBERS)
    except Malformed as error:
        return Rejection("", "malformed", error.detail)
    except ValidationProblem as error:
        pointer, code, detail = error.errors[0]
        return Rejection(pointer[:POINTER_LENGTH], code, detail)
    if not isinstance(document, dict):
        return Rejection("", "malformed", "The line is not a JSON object.")
    return document


def import_rows(stream: BinaryIO, format: str, columns: Columns) -> Iterator[SourceRow]:
    """Read the records of a file in one of IMPORT_FORMATS; raise ``ImportMalformed`` beyond RECORDS_MAX of them."""
    for number, row in enumerate(IMPORT_FORMATS[format](stream, columns), start=1):
        if number > RECORDS_MAX:
            raise ImportMalformed(f"Line {row.line}: the file has more than {RECORDS_MAX} rows.")
        yield row


IMPORT_FORMATS: dict[str, Callable[[BinaryIO, Columns], Iterator[SourceRow]]] = {
    "csv": csv_rows,
    "ndjson": ndjson_rows,
}
