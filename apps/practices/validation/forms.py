"""Form fields, for the admin: what serializers promise of a field, in a form."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet


class ReferenceFormField(forms.ModelChoiceField):
    """A row of ``queryset`` by its id, typed in: a choice of all rows would grow with them.

    As ``ReferenceField``, it finds the row by one query that is not ``get()``, so that two fields may refer to one model.
    """

    widget = forms.TextInput

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"help_text": "Its id.", **options})

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        try:
            found = list(cast("QuerySet[Any]", self.queryset).filter(pk=value)[:1])
        except (TypeError, ValueError, ValidationError):  # no key of the model
            found = []
        if not found:
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice", params={"value": value})
        return found[0]
