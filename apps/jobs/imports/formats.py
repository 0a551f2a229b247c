"""Reading CSV (RFC 4180, with a header) and NDJSON, row by row, within bounds.

CSV may use commas, semicolons or tabs, because spreadsheets of different countries save it so: the header shows which, and so
does a first line such as ``sep=;``. Blank rows are skipped; they count as lines only.

A row that is readable but wrong is rejected. A file whose structure is broken (an unclosed quote, an endless line) is refused
whole, since the rows after the break would be guesses.
"""

import codecs
import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress, islice
from typing import Any, BinaryIO

from apps.jobs.imports.rows import Columns, Rejection, SourceRow
from apps.practices.errors import Malformed, Unprocessable, ValidationProblem
from apps.practices.validation.parsers import json_bounded

ROWS_MAX = 1_000_000  # each is counted, and may be rejected and listed; as many blank ones at most
ROW_BYTES_MAX = 1024**2  # of an NDJSON line; characters of a CSV row, which ends an unclosed quote early
ROW_DEPTH_MAX = 8  # of an NDJSON line
ROW_VALUES_MAX = 2_000  # of an NDJSON line
BLOCK_BYTES = 64 * 1024
SEPARATORS = (",", ";", "\t")
_TOO_LONG = f"the row is longer than {ROW_BYTES_MAX} characters; a quote may be unclosed"
_OBJECT = re.compile(rb'\{\s*["}]')  # how one begins
_NO_OBJECT = Rejection("", "malformed", 'The line is not a JSON object, such as {"name": 1}.')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class ImportMalformed(Unprocessable, type="import-malformed", title="The file cannot be read"):
    """The file's structure is broken."""

    explanation = (
        "The file's structure is broken at the line given in detail, so none of its rows was imported. Correct the file and "
        "import it again."
    )


class HeaderError(ValueError):
    """The CSV header is missing, or its columns are not those of the import. The message is for the client."""


class Rows(ABC):
    """The rows of a file, in its order, at most ROWS_MAX (else ``ImportMalformed``). ``is_text``: all cells are text."""

    is_text: bool

    def __iter__(self) -> Iterator[SourceRow]:
        rows = self._read()
        return chain(islice(rows, ROWS_MAX), _no_more(rows))

    @abstractmethod
    def cells(self, raw: Any) -> dict[str, Any] | Rejection:
        """Return the cells of a row by name, or why they cannot be read."""

    @abstractmethod
    def _read(self) -> Iterator[SourceRow]: ...


class CsvRows(Rows):
    """CSV in UTF-8, with or without a byte order mark, with any line endings."""

    is_text = True

    def __init__(self, stream: BinaryIO, columns: Columns) -> None:
        self._blocks = _Blocks(stream)
        self._lines = chain.from_iterable(self._blocks)
        try:
            self._names, self._separator, self._header_lines = _csv_start(self._lines, columns)
        except HeaderError as error:
            raise ImportMalformed(f"Line 1: {error}") from error

    def cells(self, raw: tuple[str, ...]) -> dict[str, Any] | Rejection:
        """Pair names and cells. An empty cell counts as not given."""
        if len(raw) != len(self._names):
            detail = f"The row has {len(raw)} cells, but the header has {len(self._names)} columns."
            return Rejection("", "columns", detail)
        return dict(compress(zip(self._names, raw, strict=True), raw))

    def _read(self) -> Iterator[SourceRow]:
        reader = csv.reader(self._lines, delimiter=self._separator, strict=True)
        first = line = self._header_lines + 1
        blank = 0
        self._blocks.characters = 0
        try:
            for record in reader:
                self._blocks.characters = 0
                text = "".join(record)
                size = len(text) + len(record)
                if size > ROW_BYTES_MAX:
                    raise csv.Error(_TOO_LONG)
                if text and not text.isspace():
                    yield line, size, tuple(record)
                else:
                    blank = _count_blank(blank, line)
                line = first + reader.line_num
        except csv.Error as error:
            raise ImportMalformed(f"Line {line}: {error}.") from error


class NdjsonRows(Rows):
    """One JSON object per line, as strict as a request body. A line that is not an object, or has a name twice, is rejected."""

    is_text = False

    def __init__(self, stream: BinaryIO, columns: Columns) -> None:
        self._stream = stream

    def cells(self, raw: bytes) -> dict[str, Any] | Rejection:
        """Parse a line."""
        if not _OBJECT.match(raw):
            return _NO_OBJECT
        try:
            return json_bounded(raw, depth=ROW_DEPTH_MAX, members=ROW_VALUES_MAX)
        except Malformed as error:
            return Rejection("", "malformed", error.detail)
        except ValidationProblem as error:
            return Rejection(*error.errors[0])

    def _read(self) -> Iterator[SourceRow]:
        line = blank = 0
        while data := self._stream.readline(ROW_BYTES_MAX + 1):
            line += 1
            if len(data) > ROW_BYTES_MAX:
                raise ImportMalformed(f"Line {line}: longer than {ROW_BYTES_MAX} bytes.")
            if line == 1:
                data = data.removeprefix(codecs.BOM_UTF8)
            if text := data.strip():
                yield line, len(text), text
            else:
                blank = _count_blank(blank, line)


IMPORT_FORMATS: dict[str, Callable[[BinaryIO, Columns], Rows]] = {"csv": CsvRows, "ndjson": NdjsonRows}


def csv_check_header(stream: BinaryIO, columns: Columns) -> None:
    """Raise ``HeaderError`` unless the file begins with the header of the import."""
    _csv_start(chain.from_iterable(_Blocks(stream)), columns)


class _Blocks:
    """The lines of a text, a block at a time: a CSV reader gets them without a step of Python for each.

    ``characters`` counts those of the blocks that were begun since its reader set it to 0, at the start of each row. Raise
    ``csv.Error``, as the reader does, once a row exceeds ROW_BYTES_MAX characters: a quote may be unclosed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        csv.field_size_limit(ROW_BYTES_MAX + 1)  # rows are bounded here; the library's default is lower
        self._stream = stream
        self.characters = 0

    def __iter__(self) -> Iterator[Iterable[str]]:
        # Uploads are checked for UTF-8. A wrong byte that gets here all the same becomes a surrogate, which the field refuses.
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        rest, is_last = "", False
        while not is_last:
            data = self._stream.read(BLOCK_BYTES)
            is_last = not data
            block = rest + decoder.decode(data, final=is_last)
            end = len(block) if is_last else _end_of_lines(block)
            rest = block[end:]
            if self.characters > ROW_BYTES_MAX or len(rest) > ROW_BYTES_MAX:
                raise csv.Error(_TOO_LONG)
            self.characters += end
            yield io.StringIO(block[:end], newline="")


def _end_of_lines(block: str) -> int:
    """Return where the last whole line ends. A carriage return at the end of the block may be half of a line end."""
    return max(block.rfind("\n"), block.rfind("\r", 0, -1)) + 1


def _csv_start(lines: Iterator[str], columns: Columns) -> tuple[list[str], str, int]:
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


def _no_more(rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    for line, _, _ in rows:
        raise ImportMalformed(f"Line {line}: the file has more than {ROWS_MAX} rows. Split it into several files.")
    yield from ()


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
