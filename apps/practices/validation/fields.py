"""Serializer fields that store clean text."""

from typing import Any

from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import UncleanText, clean_html, clean_plain


class PlainTextField(serializers.CharField):
    """Text without markup: normal form C, no NUL, control or bidirectional control characters.

    ``max_length`` is required, and counts characters of the cleaned text. ``multiline=True`` allows tabs
    and line feeds. Error codes: ``nul``, ``surrogate``, ``bidi``, ``control`` and those of ``CharField``.
    """

    def __init__(self, *, max_length: int, multiline: bool = False, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.multiline = multiline
        _drop_slow_validators(self)

    def to_internal_value(self, data: Any) -> str:
        return _refusing(clean_plain, super().to_internal_value(data), multiline=self.multiline)


class RichTextField(serializers.CharField):
    """HTML of the allowed tags; everything else is taken out before it is stored.

    ``max_length`` is required, and counts characters of the cleaned HTML. Error codes as ``PlainTextField``.
    """

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        _drop_slow_validators(self)

    def to_internal_value(self, data: Any) -> str:
        return _refusing(clean_html, super().to_internal_value(data))


def _drop_slow_validators(field: serializers.CharField) -> None:
    """Take out DRF's own look for surrogates, character by character in Python: cleaning has found them by then."""
    field.validators = [one for one in field.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]


def _refusing(clean: Any, text: str, **options: bool) -> str:
    """Call a cleaning function; turn its refusal into a serializer's."""
    try:
        return clean(text, **options)
    except UncleanText as error:
        raise serializers.ValidationError(error.detail, code=error.code) from error
