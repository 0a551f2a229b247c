"""The JSON type of each field: values are not converted, not even a number to text.

Forms and `TextValues` contain only text, so their fields do the conversion.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rest_framework import serializers
from rest_framework.settings import api_settings

from apps.practices.errors.problems import ERRORS_SHOWN

AnyField = serializers.Field[Any, Any, Any, Any]

_JSON_TYPES: dict[str, tuple[type, str]] = {
    "string": (str, "a string"),
    "integer": (int, "a whole number"),
    "number": (float, "a number"),
    "boolean": (bool, "true or false"),
    "array": (list, "a list"),
    "object": (dict, "an object"),
}
_BY_CLASS: list[tuple[type[Any] | tuple[type[Any], ...], frozenset[str]]] = [
    (serializers.BooleanField, frozenset({"boolean"})),
    (serializers.IntegerField, frozenset({"integer"})),
    (serializers.FloatField, frozenset({"integer", "number"})),
    ((serializers.MultipleChoiceField, serializers.ListField, serializers.ListSerializer), frozenset({"array"})),
    ((serializers.DictField, serializers.Serializer), frozenset({"object"})),
    (
        (
            serializers.CharField,
            serializers.UUIDField,
            serializers.DateTimeField,
            serializers.DateField,
            serializers.TimeField,
            serializers.DurationField,
            serializers.IPAddressField,
        ),
        frozenset({"string"}),
    ),
]


class TextValues(dict[str, Any]):
    """Values that are always text, such as the cells of a CSV row, where ``"5"`` may be a number."""


def type_errors(field: AnyField, value: Any) -> Any:
    """Return the errors (code ``type``) of a value of the wrong JSON type, nested like DRF's; else None.

    The field handles null, and values that are not JSON (a datetime from Python). ``5.0`` counts as an integer, as in JSON
    Schema 2020-12 (validation, section 6.1.1).
    """
    given, taken = _json_type(value), field_types(field)
    if given is None:
        return None
    if taken is not None and given not in taken and not ("integer" in taken and _is_whole(value)):
        wanted = " or ".join(_JSON_TYPES[name][1] for name in sorted(taken))
        detail = f"This must be {wanted}, not {'a number' if given == 'integer' else _JSON_TYPES[given][1]}."
        return [serializers.ErrorDetail(detail, code="type")]
    child = getattr(field, "child", None)
    if child is None or isinstance(field, serializers.ListSerializer) or not isinstance(value, (list, dict)):
        return None
    if isinstance(value, list) and len(value) > (getattr(field, "max_length", None) or len(value)):
        return None  # the field refuses its length
    if isinstance(value, list) and (sure_types(child) or frozenset()).issuperset(map(type, value)):
        return None
    members = value.items() if isinstance(value, dict) else enumerate(value)
    found = ((name, type_errors(child, one)) for name, one in members)
    return dict(islice(((name, errors) for name, errors in found if errors), ERRORS_SHOWN + 1)) or None


def field_types(field: AnyField) -> frozenset[str] | None:
    """Return the JSON types that a field accepts; None if it accepts any, or checks them itself.

    A field may declare its own as ``json_types``.
    """
    if declared := getattr(field, "json_types", None):
        return frozenset(declared)
    if isinstance(field, serializers.ChoiceField) and not isinstance(field, serializers.MultipleChoiceField):
        return frozenset(filter(None, (_json_type(choice) for choice in field.choices)))
    if isinstance(field, serializers.DecimalField):  # a float would lose digits
        as_text = getattr(field, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
        return frozenset({"string"} if as_text else {"string", "integer", "number"})
    if isinstance(field, serializers.PrimaryKeyRelatedField):
        key = getattr(field, "model", None)
        return frozenset({"integer" if _has_whole_key(key) else "string"}) if key else None
    return next((types for classes, types in _BY_CLASS if isinstance(field, classes)), None)


def sure_types(field: AnyField) -> frozenset[type] | None:
    """Return the Python types of JSON values in which `type_errors` finds no error; None if it finds none in any."""
    taken = field_types(field)
    is_nested = getattr(field, "child", None) is not None and not isinstance(field, serializers.ListSerializer)
    if taken is None:
        return frozenset() if is_nested else None
    return frozenset(_JSON_TYPES[name][0] for name in taken if not (is_nested and name in ("array", "object"))) | {
        type(None)
    }


def _has_whole_key(model: Any) -> bool:
    return model._meta.pk.get_internal_type().endswith(("IntegerField", "AutoField"))


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _json_type(value: Any) -> str | None:
    """Return the JSON type of a value; None for null and for values that are not JSON."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case Mapping():
            return "object"
    return None
