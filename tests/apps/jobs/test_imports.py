"""Reading the files of imports within bounds."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.jobs.imports import formats
from apps.jobs.imports.formats import BLOCK_BYTES, IMPORT_FORMATS, ROW_BYTES_MAX, CsvRows, ImportMalformed, NdjsonRows
from apps.jobs.imports.rows import Columns, ImportRow, ImportSpec, OnConflict, Outcome, Rejection
from apps.jobs.imports.storage import rows_store
from apps.jobs.imports.uploads import upload_validate
from apps.jobs.imports.validation import RowChecker
from apps.practices.errors import ValidationProblem
from apps.practices.validation.serializers import StrictSerializer
from tests.processes import ROOT

PIECES = (b'"', b",", b"\n", b"\r", b"a", b"\x00", b"\xff", b"{", b"}", b'"title"', b":", b"\\ud800", b"[", b"1e999")
COLUMNS = Columns(known=("title", "body"), required=("title",))
# Content-Types sent by Firefox and Chromium (on Windows with Excel: vnd.ms-excel), curl and Python's mimetypes, and the
# names in use for NDJSON, none of which is registered.
SENT = (
    *("text/csv", "text/x-csv", "text/comma-separated-values", "text/x-comma-separated-values", "text/plain"),
    *("text/tab-separated-values", "application/csv", "application/x-csv", "application/vnd.ms-excel"),
    *("application/octet-stream", "application/json", "application/x-ndjson", "application/ndjson", "text/x-ndjson"),
    *("application/jsonl", "application/x-jsonlines", "application/jsonlines", "application/json-lines", "text/jsonl"),
)
FORMATS = [("csv", b"title\n"), ("ndjson", b"")]


def read(data: bytes, format: str) -> list[tuple[int, object]]:
    rows = IMPORT_FORMATS[format](io.BytesIO(data), COLUMNS)
    return [(line, rows.cells(raw)) for line, _, raw in rows]


def read_csv(data: bytes) -> list[tuple[int, object]]:
    return read(data, "csv")


@pytest.mark.parametrize(
    "data",
    [
        b"title,body\none,two\n",
        b"\xef\xbb\xbftitle,body\r\none,two\r\n",
        b"Title , BODY\n\none,two",
        b'"title","body"\n"one","two"\n\n\n',
        b"title;body\none;two\n",
        b"title\tbody\r\none\ttwo\r\n",
        b"sep=;\r\ntitle;body\r\none;two\r\n",
        b'\xef\xbb\xbf"sep=,"\ntitle,body\none,two\n',
        b"title,body\n,\none,two\n , \n,,,,\n,\n",
    ],
)
def test_csv_dialects(data: bytes) -> None:
    assert [cells for _, cells in read_csv(data)] == [{"title": "one", "body": "two"}]


def test_line_is_the_first_of_the_row() -> None:
    rows = read_csv(b'title,body\na,"1\n2\n3"\nb,\n')
    assert rows == [(2, {"title": "a", "body": "1\n2\n3"}), (5, {"title": "b"})]


def test_blank_rows_count_as_lines_only() -> None:
    assert read_csv(b"sep=;\ntitle;body\n;\na;\n;;;\n;b\n") == [(4, {"title": "a"}), (6, {"body": "b"})]


def test_header_decides_the_separator() -> None:
    assert read_csv(b"title;body\na,b;c\n") == [(2, {"title": "a,b", "body": "c"})]
    assert read_csv(b"title,body\na;b,c\n") == [(2, {"title": "a;b", "body": "c"})]
    assert read_csv(b"title\na;b\n") == [(2, {"title": "a;b"})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("shift", range(4))
def test_rows_cross_the_blocks_of_a_file(end: str, shift: int) -> None:
    """The file is read in blocks, one of which may end within a row, a character or a line end."""
    body = "é" * (BLOCK_BYTES // 8 + shift)
    data = f"title,body{end}" + "".join(f'{number},"{body}{end}{number}"{end}' for number in range(40))
    assert read_csv(data.encode()) == [
        (2 + 2 * number, {"title": str(number), "body": f"{body}{end}{number}"}) for number in range(40)
    ]


def test_row_of_wrong_length_is_rejected() -> None:
    (_, short), (_, long), (_, good) = read_csv(b"title,body\nonly\na,b,c\nx,y\n")
    assert isinstance(short, Rejection)
    assert short.code == "columns"
    assert isinstance(long, Rejection)
    assert good == {"title": "x", "body": "y"}


def test_wrong_bytes_become_surrogates() -> None:
    assert read_csv(b"title,body\n\xff,b\n") == [(2, {"title": "\udcff", "body": "b"})]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'title,body\na,b\nc,"never closed\nd,e\n', 3),
        (b'title,body\n"a"b,c\n', 2),
        (b"title,body\n" + b"x" * (2 * ROW_BYTES_MAX), 2),
        (b'title,body\na,"' + b"y\n" * ROW_BYTES_MAX, 2),
        (b"title,unheard\na,b\n", 1),
        (b"sep=|\ntitle|body\na|b\n", 1),
        (b'sep=;\ntitle;body\na;"never closed\n', 3),
        (b"", 1),
    ],
)
def test_broken_structure_names_its_line(data: bytes, line: int) -> None:
    with pytest.raises(ImportMalformed, match=f"Line {line}"):
        read_csv(data)


def test_ndjson() -> None:
    data = b'{"title": "one"}\r\n\n[1]\n{broken\n{"title": "two", "tags": ["a"]}'
    lines, (first, second, third, fourth) = zip(*read(data, "ndjson"), strict=True)
    assert lines == (1, 3, 4, 5)
    assert first == {"title": "one"}
    assert isinstance(second, Rejection)
    assert isinstance(third, Rejection)
    assert fourth == {"title": "two", "tags": ["a"]}
    with pytest.raises(ImportMalformed, match="Line 1"):
        read(b"x" * (ROW_BYTES_MAX + 1), "ndjson")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("on_conflict", "stored", "outcomes"),
    [
        (OnConflict.SKIP, "first", [Outcome.CREATED, Outcome.SKIPPED]),
        (OnConflict.UPDATE, "last", [Outcome.CREATED, Outcome.UPDATED]),
        (OnConflict.ERROR, "first", [Outcome.CREATED, "conflict"]),
    ],
)
def test_rows_with_one_key_count_in_turn(on_conflict: OnConflict, stored: str, outcomes: list[object]) -> None:
    written = []

    def upsert(*, rows: list[ImportRow], on_conflict: OnConflict) -> dict[str, Outcome]:
        written.extend(row.values["body"] for row in rows)
        return {row.key: Outcome.CREATED for row in rows}

    rows = [ImportRow(2, "same", {"body": "first"}), ImportRow(3, "same", {"body": "last"})]
    found = rows_store(rows, upsert, on_conflict)
    assert written == [stored]
    assert [one.code if isinstance(one, Rejection) else one for one in found.values()] == outcomes


def test_errors_of_one_row_are_bounded() -> None:
    """A row of many unknown names would have as many errors, which are stored in the checkpoint and the result."""
    spec = ImportSpec(columns=COLUMNS, serializer=StrictSerializer(), key=str, upsert=lambda **_: {})
    cells = json.dumps({"k" * 10_000 + str(number): 1 for number in range(100)})
    rejection = RowChecker(NdjsonRows(io.BytesIO(), COLUMNS), spec).check_row(cells.encode())
    assert isinstance(rejection, Rejection)
    assert rejection.code == "unknown"
    assert len(rejection.also) == 19
    assert len(str(rejection.document(1))) < 20_000


@pytest.mark.parametrize(
    ("data", "code", "pointer"),
    [
        (b'{"title": "a", "title": "b"}', "malformed", ""),
        (b'{"title": NaN}', "malformed", ""),
        (b'{"title": 1e999}', "malformed", ""),
        (b'{"title": ' + b"9" * 5_000 + b"}", "malformed", ""),
        (b'{"title": ' + b"[" * 9 + b"]" * 9 + b"}", "malformed", ""),
        (b'{"title": ' + b"[" * 100_000, "malformed", ""),
        (b'{"title": [' + b"1," * 3_000 + b"1]}", "malformed", ""),
        (b'{"title": "\xff"}', "malformed", ""),
        (b'{"title": "a\\ud800"}', "surrogate", "/title"),
        (b'{"title": "a\\u0000"}', "nul", "/title"),
        (b'"title"', "malformed", ""),
    ],
    ids=lambda data: str(data)[:30],
)
def test_ndjson_is_as_strict_as_a_body(data: bytes, code: str, pointer: str) -> None:
    """A line that cannot be read rejects one row, not the file."""
    (_, bad), (_, good) = read(data + b'\n{"title": "b"}\n', "ndjson")
    assert isinstance(bad, Rejection)
    assert (bad.code, bad.pointer) == (code, pointer)
    assert len(bad.detail) < 300
    assert good == {"title": "b"}


def test_multi_line_row_is_bounded() -> None:
    """Quoted cells span lines. Their sizes add up, and reading stops at the bound."""
    cells = b'"' + b"y\n" * 1_000 + b'",'
    stream = io.BytesIO(b"title,body\n" + cells * (8 * ROW_BYTES_MAX // len(cells)))
    with pytest.raises(ImportMalformed, match="Line 2: the row is longer than"):
        list(CsvRows(stream, COLUMNS))
    assert stream.tell() < 2 * ROW_BYTES_MAX


def test_wide_row_has_the_wrong_length() -> None:
    (_, cells), (_, good) = read_csv(b"title,body\n" + b"," * (ROW_BYTES_MAX - 10) + b"x\na,b\n")
    assert isinstance(cells, Rejection)
    assert good == {"title": "a", "body": "b"}


@pytest.mark.parametrize(("format", "head"), FORMATS)
def test_blank_rows_are_bounded(format: str, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job cannot be stopped while it skips blank rows, as there is no checkpoint between them."""
    monkeypatch.setattr(formats, "ROWS_MAX", 3)
    assert read(head + b"\n" * 3, format) == []
    with pytest.raises(ImportMalformed, match="more than 3 blank rows"):
        read(head + b"\n" * 4, format)


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_number_of_rows_is_bounded(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ROWS_MAX", 3)
    head, row = (b"title\n", b"a\n") if format == "csv" else (b"", b'{"title": "a"}\n')
    assert len(read(head + row * 3, format)) == 3
    with pytest.raises(ImportMalformed, match="more than 3 rows"):
        read(head + row * 4, format)


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_memory_does_not_grow_with_the_file(format: str, tmp_path: Path) -> None:
    """Reading ten times the rows takes the same peak memory.

    In a process of its own: another thread's memory, such as that of the metrics, would count as the import's.
    """
    text = b"t" * 5_000
    head, row = (b"title\n", text + b"\n") if format == "csv" else (b"", b'{"title": "' + text + b'"}\n')
    for rows in (600, 6_000):
        (tmp_path / str(rows)).write_bytes(head + row * rows)
    script = (
        "import django; django.setup()\n"
        "import sys, tracemalloc\n"
        "from apps.jobs.imports.formats import IMPORT_FORMATS\n"
        "from apps.jobs.imports.rows import Columns\n"
        "for path in sys.argv[2:]:\n"
        "    tracemalloc.start()\n"
        "    with open(path, 'rb') as file:\n"
        "        columns = Columns(known=['title'], required=['title'])\n"
        "        rows = sum(1 for _ in IMPORT_FORMATS[sys.argv[1]](file, columns))\n"
        "    print(rows, tracemalloc.get_traced_memory()[1])\n"
        "    tracemalloc.stop()\n"
    )
    # Discard the first run: it allocates what the process needs once.
    command = [sys.executable, "-c", script, format, *(str(tmp_path / name) for name in ("600", "600", "6000"))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True, text=True)
    _, few, many = ([int(number) for number in line.split()] for line in ran.stdout.splitlines())
    assert [few[0], many[0]] == [600, 6_000]
    assert many[1] < 2 * few[1]


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
@settings(derandomize=True, deadline=None, database=None)
def test_any_bytes_are_rows_or_refused(data: bytes) -> None:
    for format, head in (("csv", b"title,body\n"), ("csv", b""), ("ndjson", b"")):
        with contextlib.suppress(ImportMalformed):
            assert all(isinstance(cells, (dict, Rejection)) for _, cells in read(head + data, format))


@pytest.mark.parametrize(
    ("head", "declared", "format", "code"),
    [
        (b"PK\x03\x04title,body", "text/csv", "csv", "format"),
        (b"%PDF-1.7\n", "text/csv", "csv", "format"),
        (b"\x89PNG\r\n\x1a\n", "", "csv", "format"),
        (b"\x1f\x8b\x08title", "", "ndjson", "format"),
        ("title,body\na,b".encode("utf-16"), "text/csv", "csv", "format"),
        ("title,body\na,b".encode("utf-16-le"), "text/csv", "csv", "format"),
        ('{"title": 1}'.encode("utf-32"), "", "ndjson", "format"),
        (b"title,body\na,b", "text/csv", "ndjson", "format"),
        (b"title,body\na,b", "", "ndjson", "format"),
        (b'{"title": 1}', "application/x-ndjson", "csv", "header"),
        (b"title\na", "image/png", "csv", None),
        (b"body\na", "text/csv", "csv", "header"),
        (b"title\na", "text/csv; charset=utf-8", "csv", None),
        (b"\xef\xbb\xbftitle\na", "application/vnd.ms-excel", "csv", None),
        (b'\xef\xbb\xbf\n {"title": 1}', "application/json", "ndjson", None),
        (b"sep=;\ntitle;body\na;b", "text/csv", "csv", None),
        (b"title;unheard\na;b", "text/csv", "csv", "header"),
        (b"title\n\x00a", "", "csv", None),
        (b"title\n\xff\x00", "", "csv", "encoding"),
        (b'{"title": "\xe9"}', "", "ndjson", "encoding"),
        *((b"title\na", declared, "csv", None) for declared in SENT),
        *((b'{"title": 1}', declared, "ndjson", None) for declared in SENT),
    ],
)
def test_bytes_decide_the_file_type(head: bytes, declared: str, format: str, code: str | None) -> None:
    """A file of another type is refused, with its type, before a job exists."""
    file = SimpleUploadedFile("rows.csv", head, content_type=declared)
    if code is None:
        assert upload_validate(file=file, format=format, columns=COLUMNS).read() == head
        return
    with pytest.raises(ValidationProblem) as refused:
        upload_validate(file=file, format=format, columns=COLUMNS)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/file", code)]


@pytest.mark.parametrize(
    ("data", "line", "value"),
    [
        ("title,body\ncaf\u00e9,one\n".encode("cp1252"), 2, "0xE9"),
        ("title,body\r\na,b\r\nna\u00efve,\u2013\r\n".encode("cp1252"), 3, "0xEF"),
        (b"title,body\n" + b"a,b\n" * 200_000 + b"c,\xe9\n", 200_002, "0xE9"),
        (b"title,body\n" + "\u00e9".encode() * 200_001 + b"\xff\n", 2, "0xFF"),
        (b"title,body\na,\xc3", 2, "0xC3"),
        (b"\xff", 1, "0xFF"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_encodings_are_refused_with_line(data: bytes, line: int, value: str) -> None:
    """The error gives the line and the byte, and says how to save the file."""
    with pytest.raises(ValidationProblem) as refused:
        upload_validate(file=SimpleUploadedFile("rows.csv", data), format="csv", columns=COLUMNS)
    [error] = refused.value.errors
    assert (error.pointer, error.code) == ("/file", "encoding")
    assert f"line {line} has the byte {value}" in error.detail
    assert "CSV UTF-8" in error.detail


def test_utf16_is_refused_with_a_hint() -> None:
    with pytest.raises(ValidationProblem) as refused:
        upload_validate(file=SimpleUploadedFile("rows.csv", "title\ta".encode("utf-16")), format="csv", columns=COLUMNS)
    assert 'text in UTF-16. In Excel, save it as "CSV UTF-8' in refused.value.errors[0].detail
