"""A row gets the same values and errors from ``RowValidator`` as from its serializer."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework import serializers

from apps.practices.database.keys import uuid7
from apps.practices.errors.pointers import field_errors
from apps.practices.errors.problems import error_cut
from apps.practices.validation import fields
from apps.practices.validation.dates import StrictDateField, StrictDateTimeField
from apps.practices.validation.rows import RowValidator
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.types import TextValues

ROWS = 1_500


class EveryFieldSerializer(StrictSerializer):
    """A field of every kind that the generator writes, and a method and defaults of each kind."""

    id = serializers.UUIDField(read_only=True)
    text = fields.PlainTextField(max_length=8)
    lines = fields.PlainTextField(max_length=8, multiline=True, allow_blank=True, min_length=2, default="")
    html = fields.RichTextField(max_length=30, allow_null=True, default=None)
    slug = fields.CleanSlugField(max_length=6, required=False)
    lower = fields.CleanSlugField(max_length=6, lowercase=True, required=False)
    mail = fields.EmailAddressField(required=False)
    page = fields.WebAddressField(max_length=40, required=False)
    whole = fields.BoundedIntegerField(min_value=0, max_value=99)
    real = fields.BoundedFloatField(min_value=0, max_value=9, required=False)
    exact = fields.BoundedDecimalField(max_digits=4, decimal_places=2, required=False)
    flag = serializers.BooleanField(default=False)
    choice = serializers.ChoiceField(choices=["a", "b"], required=False)
    day = StrictDateField(required=False)
    moment = StrictDateTimeField(required=False, allow_null=True)
    key = fields.CanonicalUUIDField(required=False)
    document = fields.BoundedJSONField(max_length=30, required=False)
    members = fields.BoundedListField(child=fields.BoundedIntegerField(max_value=9), max_length=3, default=list)
    nested = fields.BoundedListField(
        child=fields.BoundedListField(child=fields.PlainTextField(max_length=3), max_length=2),
        max_length=2,
        required=False,
    )
    even = fields.BoundedIntegerField(default=lambda: 3)

    def validate_even(self, value: int) -> int:
        if value == 5:
            raise serializers.ValidationError("Five is odd.", code="odd")
        return value * 2


class WholeRowSerializer(EveryFieldSerializer):
    """Values are compared with each other."""

    def validate(self, attributes: dict[str, Any]) -> dict[str, Any]:
        if attributes["whole"] == 1:
            raise serializers.ValidationError({"whole": "Not with this text."})
        return {**attributes, "seen": True}


class OwnReadingSerializer(EveryFieldSerializer):
    """A serializer that reads rows in its own way."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(type(data)({**data, "text": data.get("title", "")}))


TEXTS = (
    *(
        "",
        " ",
        "a",
        "A b",
        " a ",
        "é",
        "e\u0301",
        "\u212b",
        "\u200b",
        "a\x00",
        "a\x01",
        "a\nb",
        "\ud800",
        "a\u202eb",
        "\u0301" * 31,
    ),
    *(
        "<b>x",
        "<p>x</p>",
        "a < b",
        "&amp;",
        "&x",
        "x" * 9,
        "x" * 41,
        "a;b;B",
        ",",
        "a,b",
        "a-b_c",
        "A-B",
        "İ",
        "a@b.example",
        "@",
    ),
    *(
        "https://a.example/",
        "javascript:x",
        "http://u:p@a.example",
        "0",
        "5",
        "1.5",
        "1e3",
        "1_0",
        " 7 ",
        "-1",
        "100",
        "12.345",
    ),
    *(
        "true",
        "on",
        "b",
        "2024-02-30",
        "2024-02-29",
        "2024-02-29T10:00:00Z",
        "2024-02-29T23:59:60Z",
        "[1]",
        "{}",
        "null",
    ),
    *("01890000-0000-7000-8000-000000000000", "urn:uuid:01890000-0000-7000-8000-000000000000"),
)
VALUES = (
    *(None, True, False, 0, 1, 5, 7, 99, 10**30, 2**70, 1.0, 5.0, 1.5, -0.0, {}, {"a": 1}, {"a": {"b": [2**60]}}),
    *(
        [],
        [1],
        [1, 2, 3],
        [1, 2, 3, 4],
        ["a"],
        [1, "a", None, 20],
        [[]],
        [["a"], ["b", "c"]],
        [["abcd"], 1],
        [["a", 1]],
        ["a", "A", ""],
    ),
)
RIGHT = {
    "title": "A title",
    "body": "<p>Text</p>",
    "summary": "s",
    "tags": "a;B",
    "published_at": "2024-02-29T10:00:00Z",
    "text": "a",
    "lines": "ab",
    "html": "<b>x</b>",
    "slug": "a-b",
    "lower": "a_b",
    "mail": "a@b.example",
    "page": "https://a.example/",
    "whole": "5",
    "real": "1.5",
    "exact": "1.25",
    "flag": "true",
    "choice": "b",
    "day": "2024-02-29",
    "moment": "2024-02-29T10:00:00Z",
    "key": "01890000-0000-7000-8000-000000000000",
    "document": "d",
    "even": "2",
}
REQUIRED = ("title", "body", "text", "whole")
LISTS = {"tags": ["a", "B"], "members": [1, 2], "nested": [["a"], []]}
UNKNOWN = ("", "id", "?", "a/b", "~", "k" * 300, "author", "non_field_errors")


def whole(serializer: StrictSerializer, row: Mapping[str, Any]) -> Any:
    """Return what the serializer makes of the row."""
    try:
        return dict(serializer.run_validation(row))
    except serializers.ValidationError as error:
        return tuple(map(error_cut, field_errors(error.detail)))


def rows(names: list[str], *, is_text: bool) -> list[dict[str, Any]]:
    """Return random rows, few of whose values are wrong in about half of them."""
    made = random.Random(5)
    right = RIGHT if is_text else {**RIGHT, "whole": 5, "even": 2, "real": 1.5, "flag": True, **LISTS}
    found = []
    for _ in range(ROWS):
        row = {name: right[name] for name in right if name in names and (made.random() < 0.5 or name in REQUIRED)}
        for name in made.sample(names, made.choice([0, 1, 1, 2, 5])):
            row[name] = made.choice(TEXTS if is_text or made.random() < 0.6 else VALUES)
        for name in made.sample(names, made.choice([0, 0, 0, 1, 3])):
            row.pop(name, None)
        for name in made.sample(UNKNOWN, made.choice([0, 0, 0, 1, 2])):
            row[name] = "a"
        if made.random() < 0.01:
            row |= {f"more-{number}": "a" for number in range(made.choice([20, 50, 51, 60]))}
        found.append(row if made.random() < 0.8 else dict(made.sample(list(row.items()), len(row))))
    return found


@pytest.mark.parametrize("is_text", [True, False], ids=["text", "json"])
@pytest.mark.parametrize("kind", [EveryFieldSerializer, WholeRowSerializer, OwnReadingSerializer])
def test_rows_get_the_values_and_errors_of_the_serializer(kind: type[StrictSerializer], is_text: bool) -> None:
    rows_agree(kind, is_text=is_text)


def rows_agree(kind: type[StrictSerializer], *, is_text: bool) -> None:
    """Compare the validator and the serializer of these rows over many, right and wrong."""
    serializer = kind()
    validator = RowValidator(kind(), is_text=is_text)
    right = wrong = 0
    for row in rows([name for name in serializer.fields if name != "id"], is_text=is_text):
        expected = whole(serializer, TextValues(row) if is_text else row)
        assert validator(row) == expected, row
        right += isinstance(expected, dict)
        wrong += isinstance(expected, tuple)
    assert wrong > ROWS / 5
    assert right > ROWS / 10 or kind is OwnReadingSerializer


def test_defaults_that_differ_are_computed_for_each_row() -> None:
    class Row(StrictSerializer):
        title = fields.PlainTextField(max_length=20)
        at = StrictDateTimeField(default=lambda: datetime.now(UTC))
        key = serializers.UUIDField(default=uuid7)

    validator = RowValidator(Row(), is_text=True)
    assert not validator.is_repeatable
    first, second = validator({"title": "a"}), validator({"title": "a"})
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["key"] != second["key"]
