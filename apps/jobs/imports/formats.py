"""Reading CSV (RFC 4180, with a header) and NDJSON, row by row, within bounds.

CSV may use commas, semicolons or tabs, because spreadsheets of different countries save it so: the header shows which, and so
does a first line such as ``sep=;``. Blank rows are skipped; they count as lines only.

A row that is readable but wrong is rejected. A file whose structure is broken (an unclosed quote, an endless line) is refused
whole, since the rows after the break would be guesses.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

from apps.jobs.imports.rows import Columns, Rejection, SourceRow
from apps.practices.errors import Malformed, Unprocessable, ValidationProblem
from apps.practices.validation.parsers import json_bounded
from apps.practices.validation.types import TextValues

ROWS_MAX = 1_000_000  # each is counted, and may be rejected and listed; as many blank ones at most
ROW_BYTES_MAX = 1024**2  # of an NDJSON line; characters of a CSV row, which ends an unclosed quote early
ROW_DEPTH_MAX = 8  # of an NDJSON line
ROW_VALUES_MAX = 2_000  # of an NDJSON line
CACHED_LENGTH_MAX = 100  # characters; a file of many rows that are equal has short ones
CACHED_ROWS_MAX = 1_000
SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class ImportMalformed(Unprocessable, type="import-malformed", title="The file cannot be read"):
    """The file's structure is broken."""

    explanation = (
        "The file's structure is broken at the line given in detail, so none of its rows was imported. Correct the file and "
        "import it again."
    )


class HeaderError(ValueError):
    """The CSV header is missing, or its columns are not those of the import. The message is for the client."""


def import_rows(stream: BinaryIO, format: str, columns: Columns) -> Iterator[SourceRow]:
    """Read the rows of a file in one of IMPORT_FORMATS. Raise ``ImportMalformed`` at more than ROWS_MAX rows."""
    for number, row in enumerate(IMPORT_FORMATS[format](stream, columns), start=1):
        if number > ROWS_MAX:
            raise ImportMalformed(
                f"Line {row.line}: the file has more than {ROWS_MAX} rows. Split it into several files."
            )
        yield row


def csv_rows(stream: BinaryIO, columns: Columns) -> Iterator[SourceRow]:
    """Read CSV in UTF-8, with or without a byte order mark, with any line endings."""
    with _csv_lines(stream) as lines:
        try:
            names, separator, header_lines = _csv_start(lines, columns)
        except HeaderError as error:
            raise ImportMalformed(f"Line 1: {error}") from error
        yield from _csv_records(lines, names, separator, header_lines)


def csv_check_header(stream: BinaryIO, columns: Columns) -> None:
    """Raise ``HeaderError`` unless the file begins with the header of the import."""
    with _csv_lines(stream) as lines:
        _csv_start(lines, columns)


def ndjson_rows(stream: BinaryIO, columns: Columns) -> Iterator[SourceRow]:
    """Read one JSON object per line, as strictly as a request body, holding one line in memory.

    A line that is not an object, or has a name twice, is a rejected row.
    """
    cached_document = lru_cache(CACHED_ROWS_MAX)(_document)
    line = blank = 0
    while data := stream.readline(ROW_BYTES_MAX + 1):
        line += 1
        if len(data) > ROW_BYTES_MAX:
            raise ImportMalformed(f"Line {line}: longer than {ROW_BYTES_MAX} bytes.")
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if text := data.strip():
            yield SourceRow(line, len(data), (cached_document if len(text) <= CACHED_LENGTH_MAX else _document)(text))
        else:
            blank = _count_blank(blank, line)


IMPORT_FORMATS: dict[str, Callable[[BinaryIO, Columns], Iterator[SourceRow]]] = {
    "csv": csv_rows,
    "ndjson": ndjson_rows,
}


class _BoundedLines:
    """The lines of a text, for a CSV reader whose rows may span several; ``characters`` counts those of the current row.

    Raise ``csv.Error``, as the reader does, once a row exceeds ROW_BYTES_MAX characters.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(ROW_BYTES_MAX + 1)
        self.characters += len(line)
        if not line:
            raise StopIteration
        if self.characters > ROW_BYTES_MAX:
            raise csv.Error(f"the row is longer than {ROW_BYTES_MAX} characters; a quote may be unclosed")
        return line


@contextmanager
def _csv_lines(stream: BinaryIO) -> Iterator[_BoundedLines]:
    csv.field_size_limit(ROW_BYTES_MAX + 1)  # lines are bounded here; the library's default is lower
    # Uploads are checked for UTF-8. A wrong byte that gets here all the same becomes a lone surrogate, which the field refuses.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield _BoundedLines(text)
    finally:
        if not stream.closed:
            text.detach()  # otherwise it would close the caller's stream


def _csv_start(lines: _BoundedLines, columns: Columns) -> tuple[list[str], str, int]:
    """Read the header, and return the column names, the separator and the number of lines read."""
    try:
        first = next(lines, "")
        declared = _SEPARATOR_LINE.fullmatch(first)
        if declared and declared[1] not in SEPARATORS:
            raise HeaderError("sep= must name a comma, a semicolon or a tab.")
        header = next(lines, "") if declared else first
        separator = declared[1] if declared else max(SEPARATORS, key=header.count)  # a comma if none occurs
        record = next(csv.reader([header], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise HeaderError(f"the header is not valid CSV: {error}.") from error
    return _header_names(record, columns), separator, 2 if declared else 1


def _csv_records(lines: _BoundedLines, names: list[str], separator: str, header_lines: int) -> Iterator[SourceRow]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    cached_cells = lru_cache(CACHED_ROWS_MAX)(lambda record: _cells(names, record))
    blank = 0
    while True:
        line = header_lines + reader.line_num + 1
        lines.characters = 0
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ImportMalformed(f"Line {line}: {error}.") from error
        if any(map(str.strip, record)):
            size = lines.characters
            cells = cached_cells(tuple(record)) if size <= CACHED_LENGTH_MAX else _cells(names, record)
            yield SourceRow(line, size, cells)
        else:
            blank = _count_blank(blank, line)


def _count_blank(blank: int, line: int) -> int:
    """Count a blank row. Raise ``ImportMalformed`` at more than ROWS_MAX: no checkpoint could stop the job between them."""
    if blank >= ROWS_MAX:
        raise ImportMalformed(f"Line {line}: the file has more than {ROWS_MAX} blank rows.")
    return blank + 1


def _header_names(record: Sequence[str], columns: Columns) -> list[str]:
    """Return the column names. Raise ``HeaderError`` for missing, unknown or repeated ones."""
    names = [name.strip().lower() for name in record]
    if not any(names):
        raise HeaderError("the header is missing. The first line must name the columns.")
    unknown = [name for name in names if name not in columns.known]
    missing = [name for name in columns.required if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise HeaderError(
            f"the header is {', '.join(names)[:300]}. The columns are {', '.join(columns.known)}, separated by commas, "
            f"semicolons or tabs, each at most once; {', '.join(columns.required)} must be present."
        )
    return names


def _cells(names: Sequence[str], record: Sequence[str]) -> TextValues | Rejection:
    """Pair names and cells. An empty cell counts as not given."""
    if len(record) != len(names):
        return Rejection("", "columns", f"The row has {len(record)} cells, but the header has {len(names)} columns.")
    return TextValues({name: cell for name, cell in zip(names, record, strict=True) if cell})


def _document(data: bytes) -> dict[str, Any] | Rejection:
    try:
        document = json_bounded(data, depth=ROW_DEPTH_MAX, members=ROW_VALUES_MAX)
    except Malformed as error:
        return Rejection("", "malformed", error.detail)
    except ValidationProblem as error:
        return Rejection(*error.errors[0])
    if not isinstance(document, dict):
        return Rejection("", "malformed", "The line is not a JSON object.")
    return document
