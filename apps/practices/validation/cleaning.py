"""Adapters between serializer fields and the functions that clean text."""

from collections.abc import Callable

from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import UncleanText, invisible


def cleaned(clean: Callable[..., str], text: str, **options: bool) -> str:
    """Return ``text`` as a cleaning function returns it; raise a serializer's ``ValidationError`` for ``UncleanText``."""
    try:
        return clean(text, **options)
    except UncleanText as error:
        raise serializers.ValidationError(error.detail, code=error.code) from error


def require_visible(field: serializers.CharField, text: str) -> str:
    """Return ``text``; raise ``blank`` if it has no visible character and the field must not be blank."""
    if not field.allow_blank and invisible(text):
        field.fail("blank")
    return text


def drop_slow_validators(field: serializers.CharField) -> None:
    """Remove DRF's own search for surrogates, which is slow; cleaning finds them."""
    field.validators = [one for one in field.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]
