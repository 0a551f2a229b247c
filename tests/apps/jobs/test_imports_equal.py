"""Equal rows share the cost of validation, and nothing else."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from rest_framework import serializers

from apps.jobs.imports.formats import IMPORT_FORMATS
from apps.jobs.imports.rows import Columns, ImportSpec
from apps.jobs.imports.validation import SWITCH_SECONDS, RowChecker
from apps.practices.database.keys import uuid7
from apps.practices.validation.serializers import StrictSerializer

COLUMNS = Columns(known=("title", "body"), required=("title",))


class CountedSerializer(StrictSerializer):
    """Count the validations of rows."""

    title = serializers.CharField()
    number = serializers.IntegerField(default=1)
    calls = 0

    def validate_title(self, title: str) -> str:
        self.calls += 1
        if title == "bad":
            raise serializers.ValidationError("Bad.", code="bad")
        return title


class OwnDefaultSerializer(CountedSerializer):
    """Give each row an id when it is validated."""

    id = serializers.UUIDField(default=uuid7)


def checked(data: bytes, serializer: StrictSerializer, *, format: str = "ndjson") -> list[tuple[int, Any]]:
    spec = ImportSpec(columns=COLUMNS, serializer=serializer, key=lambda _: str(uuid7()), upsert=lambda **_: {})
    rows = IMPORT_FORMATS[format](io.BytesIO(data), COLUMNS)
    return RowChecker(rows, spec).check_batch(rows)


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("csv", b"body,title\n" + b"x,bad\n" * 500),
        ("ndjson", b'{"title": "bad"}\n\n' + b'{"title": "bad"}\n' * 499),
    ],
)
def test_equal_invalid_rows_are_validated_once(format: str, data: bytes) -> None:
    serializer = CountedSerializer()
    found = checked(data, serializer, format=format)
    assert [line for line, _ in found] == [*range(2, 502)] if format == "csv" else [1, *range(3, 502)]
    assert {(one.pointer, one.code) for _, one in found} == {("/title", "bad")}
    assert serializer.calls == 1


def test_equal_valid_rows_are_validated_once() -> None:
    serializer = CountedSerializer()
    found = checked(b'{"title": "a"}\n' * 500, serializer)
    assert {(line, row.line, *sorted(row.values.items())) for line, row in found} == {
        (line, line, ("number", 1), ("title", "a")) for line in range(1, 501)
    }
    assert len({row.key for _, row in found}) == 500
    assert serializer.calls == 1


def test_equal_rows_get_separate_defaults() -> None:
    serializer = OwnDefaultSerializer()
    found = checked(b'{"title": "a"}\n' * 500, serializer)
    assert len({row.values["id"] for _, row in found}) == 500
    assert serializer.calls == 500


def test_threads_switch_often_only_while_they_share_the_work() -> None:
    rows = IMPORT_FORMATS["ndjson"](io.BytesIO(b"{}\n" * 3), COLUMNS)
    spec = ImportSpec(columns=COLUMNS, serializer=CountedSerializer(), key=str, upsert=lambda **_: {})
    before = sys.getswitchinterval()
    during = [sys.getswitchinterval() for _ in RowChecker(rows, spec).check([list(rows)] * 2)]
    assert during == [pytest.approx(SWITCH_SECONDS)] * 2
    assert sys.getswitchinterval() == before > SWITCH_SECONDS
