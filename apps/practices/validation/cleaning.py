"""Adapters between serializer fields and the functions that clean text."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import UncleanText, invisible


class Refusal(serializers.ValidationError):
    """A ``ValidationError`` with one error.

    An import may refuse a value for every few bytes of its file. Django REST framework's own walks through its details, and
    translates them, each time.
    """

    def __init__(self, detail: str, code: str) -> None:
        self.detail = [_error(detail, code)]


class QuickFailure:
    """A mixin of fields whose ``fail`` raises ``Refusal``, with the same texts and codes."""

    error_messages: dict[str, Any]

    def fail(self, key: str, **values: Any) -> NoReturn:
        """Raise the error ``key`` of the field's messages."""
        texts: dict[str, str] = vars(self).setdefault("_failure_texts", {})
        text = texts.get(key) or texts.setdefault(key, str(self.error_messages[key]))
        raise Refusal(text.format(**values), code=key)


def cleaned(clean: Callable[..., str], text: str, **options: bool) -> str:
    """Return ``text`` as a cleaning function returns it; raise a serializer's ``ValidationError`` for ``UncleanText``."""
    try:
        return clean(text, **options)
    except UncleanText as error:
        raise Refusal(error.detail, code=error.code) from error


def require_visible(field: serializers.CharField, text: str) -> str:
    """Return ``text``; raise ``blank`` if it has no visible character and the field must not be blank."""
    if not field.allow_blank and invisible(text):
        field.fail("blank")
    return text


def drop_slow_validators(field: serializers.CharField) -> None:
    """Remove DRF's own search for surrogates, which is slow; cleaning finds them."""
    field.validators = [one for one in field.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]


@lru_cache(maxsize=256)
def _error(detail: str, code: str) -> serializers.ErrorDetail:
    return serializers.ErrorDetail(detail, code)
