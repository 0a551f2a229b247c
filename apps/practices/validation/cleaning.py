"""The base of serializer fields of text, and adapters to the functions that clean it."""

import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, NoReturn

from django.core.validators import MaxLengthValidator, ProhibitNullCharactersValidator
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import UncleanText, invisible


class Refusal(serializers.ValidationError):
    """A ``ValidationError`` with one error, whose ``text`` and ``code`` need not be looked for.

    An import may refuse a value for every few bytes of its file. Django REST framework's own walks through its details, and
    translates them, each time.
    """

    def __init__(self, text: str, code: str) -> None:
        self.text, self.code = text, code
        self.detail = [_error(text, code)]


class QuickFailure:
    """A mixin of fields whose ``fail`` raises ``Refusal``, with the same texts and codes."""

    error_messages: dict[str, Any]

    def fail(self, key: str, **values: Any) -> NoReturn:
        """Raise the error ``key`` of the field's messages."""
        texts: dict[str, str] = vars(self).setdefault("_failure_texts", {})
        text = texts.get(key) or texts.setdefault(key, str(self.error_messages[key]))
        raise Refusal(text.format(**values), code=key)


class CleanTextField(QuickFailure, serializers.CharField):
    """A text that a subclass cleans in ``to_internal_value``, so that it has no NUL and no surrogates.

    ``unchanged`` matches visible texts that cleaning does not change; they skip it. A subclass with a cleaning of its own
    has none, unless it says so.
    """

    max_length: int
    unchanged: re.Pattern[str] | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "to_internal_value" in vars(cls) and "unchanged" not in vars(cls):
            cls.unchanged = None

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        # Cleaning finds surrogates; DRF's own search is slow.
        self.validators = [one for one in self.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]

    def run_validation(self, data: Any = empty) -> Any:
        """Validate ordinary text with less machinery than ``CharField``, and to the same effect."""
        if type(data) is not str or not data or data.isspace():
            return super().run_validation(data)
        if not self._only_limits_length:
            text = self.to_internal_value(data)
            self.run_validators(text)
            return text
        is_unchanged = self.unchanged is not None and self.unchanged.fullmatch(data)
        text = data if is_unchanged else self.to_internal_value(data)
        if len(text) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return text

    @cached_property
    def _only_limits_length(self) -> bool:
        return all(isinstance(one, (MaxLengthValidator, ProhibitNullCharactersValidator)) for one in self.validators)


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


@lru_cache(maxsize=256)
def _error(text: str, code: str) -> serializers.ErrorDetail:
    return serializers.ErrorDetail(text, code)
