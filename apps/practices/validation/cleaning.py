"""The base of serializer fields of text, and adapters to the functions that clean it."""

import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, NoReturn, TypeVar

from django.core.validators import MaxLengthValidator, ProhibitNullCharactersValidator
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from apps.practices.validation.text import Fault, UncleanText, invisible

_Value = TypeVar("_Value")
_READING = frozenset({"outcome", "run_validation", "validate_empty_values", "to_internal_value", "run_validators"})


class Refusal(serializers.ValidationError):
    """A ``ValidationError`` with one error, whose ``text`` and ``code`` need not be looked for.

    An import may refuse a value for every few bytes of its file. Django REST framework's own walks through its details, and
    translates them, each time.
    """

    def __init__(self, text: str, code: str) -> None:
        self.text, self.code = text, code
        self.detail = [_error(text, code)]


class Refusals(serializers.ValidationError):
    """A ``ValidationError`` with errors by place, whose parts are details already."""

    def __init__(self, detail: dict[Any, Any]) -> None:
        self.detail = detail


class QuickFailure:
    """A mixin of fields whose ``fail`` raises ``Refusal``, with the same texts and codes.

    Some have a method ``outcome``, which returns the value of a text, or its fault, without raising it.
    """

    error_messages: dict[str, Any]
    validators: list[Any]

    @cached_property
    def _faults(self) -> dict[str, Fault]:
        return {}

    @cached_property
    def is_quick(self) -> bool:
        """Return whether ``outcome`` decides alone: nothing overrides how the field reads, or validates more than a length."""
        first = next(cls for cls in type(self).__mro__ if not _READING.isdisjoint(vars(cls)))
        bounds = (MaxLengthValidator, ProhibitNullCharactersValidator)
        return "outcome" in vars(first) and all(isinstance(one, bounds) for one in self.validators)

    def fail(self, key: str, **values: Any) -> NoReturn:
        """Raise the error ``key`` of the field's messages."""
        fault = self.failure(key, **values)
        raise Refusal(fault.detail, fault.code)

    def failure(self, key: str, **values: Any) -> Fault:
        """Return the error ``key`` of the field's messages."""
        fault = self._faults.get(key) or self._faults.setdefault(key, Fault(key, str(self.error_messages[key])))
        return Fault(key, fault.detail.format(**values)) if values else fault


class CleanTextField(QuickFailure, serializers.CharField):
    """Text that ``clean`` cleans or refuses, so that it has no NUL and no surrogates.

    ``unchanged`` matches visible texts that cleaning does not change; they skip it. A subclass with a cleaning of its own
    has none, unless it says so.
    """

    max_length: int
    unchanged: re.Pattern[str] | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if {"to_internal_value", "clean"} & vars(cls).keys() and "unchanged" not in vars(cls):
            cls.unchanged = None

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        # Cleaning finds surrogates; DRF's own search is slow.
        self.validators = [one for one in self.validators if not isinstance(one, ProhibitSurrogateCharactersValidator)]

    def clean(self, text: str) -> str | Fault:
        """Return clean text without surrounding white space, or why it is refused."""
        raise NotImplementedError

    def to_internal_value(self, data: Any) -> str:
        text = data.strip() if type(data) is str and self.trim_whitespace else super().to_internal_value(data)
        return accepted(self._visible(self.clean(text)))

    def run_validation(self, data: Any = empty) -> Any:
        """Validate ordinary text with less machinery than ``CharField``, and to the same effect."""
        if type(data) is str and self.is_quick:
            return accepted(self.outcome(data))
        if type(data) is not str or not data or data.isspace():
            return super().run_validation(data)
        text = self.to_internal_value(data)
        self.run_validators(text)
        return text

    def outcome(self, data: str) -> str | Fault:
        """Return the value of a text, or why it is refused, if the field ``is_quick``."""
        if self.unchanged is not None and self.unchanged.fullmatch(data):
            text: str | Fault = data
        elif trimmed := data.strip() if self.trim_whitespace else data:
            text = self._visible(self.clean(trimmed))
        else:
            return "" if self.allow_blank else self.failure("blank")
        if len(text) > self.max_length and type(text) is str:
            return self.failure("max_length", max_length=self.max_length)
        return text

    def _visible(self, text: str | Fault) -> str | Fault:
        """Return ``text``; the fault ``blank`` if it has no visible character and the field must not be blank."""
        return self.failure("blank") if not self.allow_blank and type(text) is str and invisible(text) else text


def cleaned(clean: Callable[..., str], text: str, **options: bool) -> str:
    """Return ``text`` as a cleaning function returns it; raise a serializer's ``ValidationError`` for ``UncleanText``."""
    try:
        return clean(text, **options)
    except UncleanText as error:
        raise Refusal(error.detail, code=error.code) from error


def accepted(outcome: _Value | Fault) -> _Value:
    """Return a value, or raise ``Refusal`` with its fault."""
    if isinstance(outcome, Fault):
        raise Refusal(outcome.detail, outcome.code)
    return outcome


@lru_cache(maxsize=256)
def _error(text: str, code: str) -> serializers.ErrorDetail:
    return serializers.ErrorDetail(text, code)
