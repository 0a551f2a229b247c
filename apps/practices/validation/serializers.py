"""Serializers that take the fields they declare and no others (OWASP ASVS 5.0, 15.3.3: mass assignment), of the types said."""

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from apps.practices.errors.problems import ERRORS_SHOWN
from apps.practices.validation.types import AnyField, TextValues, type_errors


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that answers 400 for unknown fields (``unknown``), read-only ones (``read_only``) and other types (``type``).

    It holds at every depth: nest another strict serializer, with ``many=True`` or without. Forms and `TextValues` hold text
    alone, of which each field makes what it is.
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
    """Return the errors of the members of ``data`` that no writable field takes, or that have another type than theirs.

    It stops one beyond what is shown of them, so that a body of many costs no more than one of few.
    """
    typed = not isinstance(data, (QueryDict, TextValues))
    errors: dict[str, Any] = {}
    for name, value in data.items():
        if name not in fields:
            errors[name] = [serializers.ErrorDetail("This field is not known here.", code="unknown")]
        elif fields[name].read_only:
            errors[name] = [serializers.ErrorDetail("This field cannot be written.", code="read_only")]
        elif typed and (found := type_errors(fields[name], value)):
            errors[name] = found
        if len(errors) > ERRORS_SHOWN:
            break
    return errors
