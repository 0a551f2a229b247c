"""Call the functions that clean text from a serializer's field, and refuse as a field does."""

from collections.abc import Callable

from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import UncleanText, invisible


def refusing(clean: Callable[..., str], text: str, **options: bool) -> str:
    """Return what a cleaning function makes of ``text``; raise its refusal as a serializer's ``ValidationError``."""
    try:
        return clean(text, **options)
    except UncleanText as error:
        raise serializers.ValidationError(error.detail, code=error.code) from error


def present(field: serializers.CharField, text: str) -> str:
    """Return ``text``; raise ``blank`` where the field must not be blank and nothing is left of it, or can be seen."""
    if not field.allow_blank and invisible(text):
        field.fail("blank")
    return text


def drop_slow_validators(field: serializers.CharField) -> None:
    """Remove DRF's own search for surrogates, character by character in Python: cleaning has found them by then."""
    field.validators = [one for one in field.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]
