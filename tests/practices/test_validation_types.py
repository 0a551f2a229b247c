"""Strict JSON types: a field takes its own, in every place of a body; what is text by nature is read as such."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from rest_framework import serializers

from apps.practices.validation import fields
from apps.practices.validation.dates import StrictDateField, StrictDateTimeField
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.types import TextValues
from tests.sample.models import Effect, Note

ID = "01890000-0000-7000-8000-00000000000a"
VALUES: dict[str, list[Any]] = {
    "string": ["5", "true", "2026-01-01"],
    "integer": [5, 0],
    "number": [1.5],
    "boolean": [True, False],
    "array": [[], [1]],
    "object": [{}, {"a": 1}],
}
FIELDS: list[tuple[Any, set[str]]] = [
    (fields.PlainTextField(max_length=9), {"string"}),
    (fields.RichTextField(max_length=9), {"string"}),
    (fields.CleanSlugField(max_length=9), {"string"}),
    (fields.WebAddressField(max_length=9), {"string"}),
    (fields.EmailAddressField(), {"string"}),
    (fields.CanonicalUUIDField(), {"string"}),
    (fields.ReferenceField(Note, readable=lambda _: Note.objects.none()), {"string"}),
    (fields.ReferenceField(Effect, readable=lambda _: Effect.objects.none()), {"integer"}),
    (fields.BoundedIntegerField(), {"integer"}),
    (fields.BoundedFloatField(min_value=0, max_value=9), {"integer", "number"}),
    (fields.BoundedDecimalField(max_digits=5, decimal_places=2), {"string"}),
    (StrictDateField(), {"string"}),
    (StrictDateTimeField(), {"string"}),
    (serializers.BooleanField(), {"boolean"}),
    (serializers.CharField(), {"string"}),
    (serializers.ChoiceField(choices=["5", "true"]), {"string"}),
    (serializers.ChoiceField(choices=[5, 6]), {"integer"}),
    (serializers.MultipleChoiceField(choices=["a"]), {"array"}),
    (serializers.DurationField(), {"string"}),
    (serializers.ListField(), {"array"}),
    (serializers.DictField(), {"object"}),
]


def errors_of(field: Any, data: Any) -> Any:
    serializer = type("Probe", (StrictSerializer,), {"value": field})(data=data, context={"viewer": None})
    serializer.is_valid()
    return serializer.errors.get("value")


@pytest.mark.django_db
@pytest.mark.parametrize(("field", "types"), FIELDS, ids=lambda one: type(one).__name__)
def test_fields_accept_only_their_json_type(field: Any, types: set[str]) -> None:
    for kind, values in VALUES.items():
        for value in values:
            found = errors_of(field, {"value": value})
            codes = {error.code for error in found} if isinstance(found, list) else set()
            assert (codes == {"type"}) == (kind not in types), (value, found)


def test_type_error_names_both_types_and_the_place() -> None:
    assert errors_of(serializers.CharField(), {"value": 5}) == ["This must be a string, not a number."]
    tags = serializers.ListField(child=fields.PlainTextField(max_length=9))
    assert errors_of(tags, {"value": ["a", 1, "b", True]}) == {
        1: ["This must be a string, not a number."],
        3: ["This must be a string, not true or false."],
    }
    nested = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    assert errors_of(nested, {"value": [[1], [2, "3"]]}) == {1: {1: ["This must be a whole number, not a string."]}}
    named = serializers.DictField(child=serializers.BooleanField())
    assert errors_of(named, {"value": {"a": 1}}) == {"a": ["This must be true or false, not a number."]}


def test_whole_number_may_have_a_decimal_point() -> None:
    """JSON has one kind of number; JSON Schema 2020-12 counts 5.0 as an integer, and so does the document of the API."""

    class Probe(StrictSerializer):
        value = fields.BoundedIntegerField()

    probe = Probe(data={"value": 5.0})
    assert probe.is_valid()
    assert repr(probe.validated_data["value"]) == "5"
    assert not Probe(data={"value": 5.5}).is_valid()


def test_text_values_are_converted_by_their_fields() -> None:
    class Probe(StrictSerializer):
        size = fields.BoundedIntegerField()
        price = fields.BoundedDecimalField(max_digits=5, decimal_places=2)
        done = serializers.BooleanField()

    cells = {"size": "5", "price": "1.50", "done": "true"}
    for data in (TextValues(cells), QueryDict("size=5&price=1.50&done=true")):
        probe = Probe(data=data)
        assert probe.is_valid(), probe.errors
        assert probe.validated_data == {"size": 5, "price": Decimal("1.50"), "done": True}
    typed = Probe(data=cells)
    assert not typed.is_valid()
    assert set(typed.errors) == {"size", "done"}
