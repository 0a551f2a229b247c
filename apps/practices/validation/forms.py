"""Form fields for the admin, with the rules of the serializer fields."""

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet


class ReferenceFormField(forms.ModelChoiceField):
    """A row that the caller may read, entered by its id, since a list of all rows would grow without limit.

    It accepts no row until the form has called `confine`. Like ``ReferenceField`` it does not use ``get()``, so that two fields
    may refer to one model.
    """

    widget = forms.TextInput

    def __init__(self, model: type[Model], **options: Any) -> None:
        super().__init__(queryset=model._default_manager.none(), **{"help_text": "Its id.", **options})
        self.current: Any = None

    def confine(self, readable: QuerySet[Any], *, current: Any = None) -> None:
        """Accept the rows of `readable`, and the row with the key `current`, which the edited row already refers to."""
        self.queryset, self.current = readable, current

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        readable = cast("QuerySet[Any]", self.queryset)
        is_current = self.current is not None and str(value) == str(self.current)
        rows = readable.model._default_manager.all() if is_current else readable
        try:
            found = list(rows.filter(pk=value)[:1])
        except (TypeError, ValueError, ValidationError):  # not a key of the model
            found = []
        if not found:
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice", params={"value": value})
        return found[0]
