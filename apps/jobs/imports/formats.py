"""Reading CSV (RFC 4180, a header in the first line) and NDJSON, record by record, within bounds.

CSV is separated by commas, semicolons or tabs, as spreadsheets of different countries save it: the header says which, and so
does a first line such as ``sep=;``. Rows whose every cell is empty are ignored, and count as lines only.

A record that can be read but makes no sense is a rejected row. A file whose structure is broken (a quote that is never
closed, a line without end) imports nothing, since whatever followed would be guesswork.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from apps.jobs.imports.rows import Rejection, SourceRow
from apps.practices.errors import Malformed, Unprocessable, ValidationProblem
from apps.practices.validation.parsers import json_bounded
from apps.practices.validation.types import TextValues

RECORD_BYTES = (
    1024**2
)  # of an NDJSON line; characters of a CSV record: a file that never closes a quote is noticed here
RECORD_DEPTH = 8  # levels of an NDJSON line
RECORD_MEMBERS = 2_000  # values in it
RECORDS_MAX = 1_000_000  # of a file: each is counted, and may be listed as rejected; as many blank ones at most
SHORT = 100  # characters of a row that is read once for all its like: a file of nothing but such rows has many of them
SHARED_MAX = 1_000  # such rows that are kept
SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


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
    with _csv_lines(stream) as lines:
        try:
            names, separator, before = _csv_start(lines, columns)
        except HeaderRefused as error:
            raise ImportMalformed(f"Line 1: {error}") from error
        yield from _csv_records(lines, names, separator, before)


def csv_check_header(stream: BinaryIO, columns: Columns) -> None:
    """Raise ``HeaderRefused`` unless the file begins with the header of the import."""
    with _csv_lines(stream) as lines:
        _csv_start(lines, columns)


@contextmanager
def _csv_lines(stream: BinaryIO) -> Iterator["_BoundedLines"]:
    csv.field_size_limit(RECORD_BYTES + 1)  # the lines are bounded; the library's own limit is lower
    # The door refuses a file with bytes that are not UTF-8. Where one gets past it, such a byte becomes a lone surrogate,
    # which the field that holds it refuses.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield _BoundedLines(text)
    finally:
        if not stream.closed:
            text.detach()  # or it would close the stream, which is the caller's


def _csv_start(lines: "_BoundedLines", columns: Columns) -> tuple[list[str], str, int]:
    """Read the header, and return the names of the columns, their separator and the number of lines read."""
    try:
        first = next(lines, "")
        said = _SEPARATOR_LINE.fullmatch(first)
        if said and said[1] not in SEPARATORS:
            raise HeaderRefused("sep= names a separator other than a comma, a semicolon or a tab.")
        header = next(lines, "") if said else first
        separator = said[1] if said else max(SEPARATORS, key=header.count)  # the first of equals: a comma
        record = next(csv.reader([header], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise HeaderRefused(f"the header is not CSV: {error}.") from error
    return _header_names(record, columns), separator, 2 if said else 1


def _csv_records(lines: "_BoundedLines", names: list[str], separator: str, before: int) -> Iterator[SourceRow]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    cells_of = lru_cache(SHARED_MAX)(lambda record: _cells(names, record))
    blank = 0
    while True:
        line = before + reader.line_num + 1
        lines.characters = 0
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ImportMalformed(f"Line {line}: {error}.") from error
        if any(map(str.strip, record)):
            size = lines.characters
            yield SourceRow(line, size, cells_of(tuple(record)) if size <= SHORT else _cells(names, record))
        else:
            blank = _counted_blank(blank, line)


def _counted_blank(blank: int, line: int) -> int:
    """Count one more blank row; raise ``ImportMalformed`` beyond RECORDS_MAX, since no checkpoint comes between them."""
    if blank >= RECORDS_MAX:
        raise ImportMalformed(f"Line {line}: the file has more than {RECORDS_MAX} blank rows.")
    return blank + 1


def _header_names(record: Sequence[str], columns: Columns) -> list[str]:
    """Return the names of the columns, or raise ``HeaderRefused`` naming what is wrong with them."""
    names = [name.strip().lower() for name in record]
    if not any(names):
        raise HeaderRefused("a header with the names of the columns is missing.")
    unknown = [name for name in names if name not in columns.known]
    missing = [name for name in columns.required if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise HeaderRefused(
            f"the columns are {', '.join(columns.known)}, separated by commas, semicolons or tabs; "
            f"{', '.join(columns.required)} must be present, each once. The header says {', '.join(names)[:300]}."
        )
    return names


def ndjson_rows(stream: BinaryIO, columns: Columns) -> Iterator[SourceRow]:
    """Read one JSON object a line, as strictly as a body of the API; empty lines count as lines and are passed over.

    No more than a line is in memory. A line that is no object, or holds a name twice, is a rejected row.
    """
    document_of = lru_cache(SHARED_MAX)(_document)
    line = blank = 0
    while data := stream.readline(RECORD_BYTES + 1):
        line += 1
        if len(data) > RECORD_BYTES:
            raise ImportMalformed(f"Line {line}: longer than {RECORD_BYTES} bytes.")
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if text := data.strip():
            yield SourceRow(line, len(data), (document_of if len(text) <= SHORT else _document)(text))
        else:
            blank = _counted_blank(blank, line)


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


def _cells(names: Sequence[str], record: Sequence[str]) -> TextValues | Rejection:
    """Pair names and cells. An empty cell is a value that is not given."""
    if len(record) != len(names):
        detail = f"The row has {len(record)} cells where the header has {len(names)}."
        return Rejection("", "columns", detail)
    return TextValues({name: cell for name, cell in zip(names, record, strict=True) if cell})


def _document(data: bytes) -> dict[str, Any] | Rejection:
    try:
        document = json_bounded(data, depth=RECORD_DEPTH, members=RECORD_MEMBERS)
    except Malformed as error:
        return Rejection("", "malformed", error.detail)
    except ValidationProblem as error:
        return Rejection(*error.errors[0])
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
