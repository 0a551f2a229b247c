"""Serializers that take the fields they declare and no others (OWASP ASVS 5.0, 15.3.3: mass assignment)."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that answers 400 for unknown fields (code ``unknown``) and for read-only ones (``read_only``).

    It holds at every depth: nest another strict serializer, with ``many=True`` or without.
    """

    def to_internal_value(self, data: Any) -> Any:
        refused = _refused(self.fields, data) if isinstance(data, Mapping) else {}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if refused and isinstance(error.detail, dict):
                raise serializers.ValidationError({**error.detail, **refused}) from error
            raise
        if refused:
            raise serializers.ValidationError(refused)
        return value


def _refused(
    fields: Mapping[str, serializers.Field[Any, Any, Any, Any]], data: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Give the errors of the members of ``data`` that no writable field takes."""
    errors: dict[str, list[Any]] = {}
    for name in data:
        if name not in fields:
            errors[name] = [serializers.ErrorDetail("This field is not known here.", code="unknown")]
        elif fields[name].read_only:
            errors[name] = [serializers.ErrorDetail("This field cannot be written.", code="read_only")]
    return errors
