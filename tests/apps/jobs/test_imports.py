"""Reading files within bounds."""

from __future__ import annotations

import io

import pytest

from apps.jobs.imports.formats import RECORD_BYTES, Columns, ImportMalformed, csv_rows, ndjson_rows
from apps.jobs.imports.outcomes import Import, OnConflict, Outcome
from apps.jobs.imports.rows import ImportRow, Rejection, SourceRow
from apps.jobs.imports.run import _upserted, _validated
from apps.practices.validation.serializers import StrictSerializer

COLUMNS = Columns(known=("title", "body"), required=("title",))


def read_csv(data: bytes) -> list[tuple[int, object]]:
    return [(row.line, row.cells) for row in csv_rows(io.BytesIO(data), COLUMNS)]


@pytest.mark.parametrize(
    "data",
    [
        b"title,body\none,two\n",
        b"\xef\xbb\xbftitle,body\r\none,two\r\n",
        b"Title , BODY\n\none,two",
        b'"title","body"\n"one","two"\n\n\n',
    ],
)
def test_spellings_of_one_file(data: bytes) -> None:
    assert [cells for _, cells in read_csv(data)] == [{"title": "one", "body": "two"}]


def test_a_row_is_named_by_its_first_line() -> None:
    rows = read_csv(b'title,body\na,"1\n2\n3"\nb,\n')
    assert rows == [(2, {"title": "a", "body": "1\n2\n3"}), (5, {"title": "b"})]


def test_a_row_of_another_length_is_rejected_and_reading_goes_on() -> None:
    (_, short), (_, long), (_, good) = read_csv(b"title,body\nonly\na,b,c\nx,y\n")
    assert isinstance(short, Rejection)
    assert short.code == "columns"
    assert isinstance(long, Rejection)
    assert good == {"title": "x", "body": "y"}


def test_wrong_bytes_reach_the_field_that_refuses_them() -> None:
    assert read_csv(b"title,body\n\xff,b\n") == [(2, {"title": "\udcff", "body": "b"})]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'title,body\na,b\nc,"never closed\nd,e\n', 3),
        (b'title,body\n"a"b,c\n', 2),
        (b"title,body\n" + b"x" * (2 * RECORD_BYTES), 2),
        (b'title,body\na,"' + b"y\n" * RECORD_BYTES, 2),
        (b"title,unheard\na,b\n", 1),
        (b"", 1),
    ],
)
def test_a_broken_structure_stops_with_its_line(data: bytes, line: int) -> None:
    with pytest.raises(ImportMalformed, match=f"Line {line}"):
        read_csv(data)


def test_ndjson() -> None:
    data = b'{"title": "one"}\r\n\n[1]\n{broken\n{"title": "two", "tags": ["a"]}'
    rows = list(ndjson_rows(io.BytesIO(data), COLUMNS))
    assert [row.line for row in rows] == [1, 3, 4, 5]
    assert rows[0].cells == {"title": "one"}
    assert isinstance(rows[1].cells, Rejection)
    assert isinstance(rows[2].cells, Rejection)
    assert rows[3].cells == {"title": "two", "tags": ["a"]}
    with pytest.raises(ImportMalformed, match="Line 1"):
        list(ndjson_rows(io.BytesIO(b"x" * (RECORD_BYTES + 1)), COLUMNS))


@pytest.mark.parametrize(
    ("on_conflict", "stored", "outcomes"),
    [
        (OnConflict.SKIP, "first", [Outcome.CREATED, Outcome.SKIPPED]),
        (OnConflict.UPDATE, "last", [Outcome.CREATED, Outcome.UPDATED]),
        (OnConflict.ERROR, "first", [Outcome.CREATED, "conflict"]),
    ],
)
def test_rows_of_one_key_count_as_one_after_another(
    on_conflict: OnConflict, stored: str, outcomes: list[object]
) -> None:
    written = []

    def upsert(*, rows: list[ImportRow], on_conflict: OnConflict) -> dict[str, Outcome]:
        written.extend(row.values["body"] for row in rows)
        return {row.key: Outcome.CREATED for row in rows}

    rows = [ImportRow(2, "same", {"body": "first"}), ImportRow(3, "same", {"body": "last"})]
    found = _upserted(rows, upsert, on_conflict)
    assert written == [stored]
    assert [one.code if isinstance(one, Rejection) else one for one in found.values()] == outcomes


def test_what_is_said_about_one_row_is_bounded() -> None:
    """A mebibyte of names that nobody knows would be many of errors, kept in the checkpoint and in the result."""
    source = Import(columns=COLUMNS, serializer=StrictSerializer(), key=str, upsert=lambda **_: {})
    cells = {"k" * 10_000 + str(number): 1 for number in range(100)}
    rejection = _validated(SourceRow(1, 1, cells), source)
    assert isinstance(rejection, Rejection)
    assert rejection.code == "unknown"
    assert len(rejection.also) == 19
    assert len(str(rejection.document(1))) < 20_000
