"""Model fields with the rules of the serializer fields, for the admin's forms."""

from typing import Any

from django import forms
from django.db import models
from django.utils.functional import cached_property

from apps.practices.validation.slugs import validate_slug


class UnicodeSlugField(models.SlugField):
    """A slug of any script, including combining marks. In migrations it is Django's ``SlugField``.

    The form field does not validate; the model's validator and the serializer do.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "allow_unicode": True})

    @cached_property
    def validators(self) -> list[Any]:
        return [validate_slug, *self._validators]  # type: ignore[attr-defined]  # missing in the stubs

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.SlugField", args, options

    def formfield(self, *args: Any, **options: Any) -> Any:
        options.pop("allow_unicode", None)
        return super(models.SlugField, self).formfield(*args, **{"form_class": forms.CharField, **options})
