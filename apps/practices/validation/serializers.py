"""Serializers that accept only declared fields of the declared types (OWASP ASVS 5.0, 15.3.3: mass assignment)."""

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from apps.practices.errors.problems import ERRORS_SHOWN
from apps.practices.validation.types import AnyField, TextValues, type_errors


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses unknown fields (``unknown``), read-only fields (``read_only``) and wrong types (``type``).

    To apply this at every depth, nest strict serializers, also with ``many=True``. Types are not checked in forms and
    `TextValues`, which contain only text.
    """

    def to_internal_value(self, data: Any) -> Any:
        refused = _refused(self.fields, data) if isinstance(data, Mapping) else {}
        if refused and not isinstance(data, QueryDict):
            data = {name: value for name, value in data.items() if name in self.fields and name not in refused}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if refused and isinstance(error.detail, dict):
                raise serializers.ValidationError({**error.detail, **refused}) from error
            raise
        if refused:
            raise serializers.ValidationError(refused)
        return value


def _refused(fields: Mapping[str, AnyField], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the errors of the members of ``data`` that are not writable fields, or have the wrong type.

    Stop after ERRORS_SHOWN + 1 errors, so that the cost does not grow with the body.
    """
    typed = not isinstance(data, (QueryDict, TextValues))
    errors: dict[str, Any] = {}
    for name, value in data.items():
        if name not in fields:
            errors[name] = [serializers.ErrorDetail("Unknown field.", code="unknown")]
        elif fields[name].read_only:
            errors[name] = [serializers.ErrorDetail("This field is read-only.", code="read_only")]
        elif typed and (found := type_errors(fields[name], value)):
            errors[name] = found
        if len(errors) > ERRORS_SHOWN:
            break
    return errors
