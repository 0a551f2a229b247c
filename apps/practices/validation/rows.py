"""Rows of files, validated as their serializer would, without its machinery for each row."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.fields import SkipField, empty

from apps.practices.errors import FieldError
from apps.practices.errors.pointers import field_errors, pointer_to
from apps.practices.errors.problems import ERRORS_SHOWN, error_cut
from apps.practices.validation.cleaning import Refusal
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.text import Fault
from apps.practices.validation.types import AnyField, TextValues, sure_types, type_errors

Errors = tuple[FieldError, ...]

# A class that overrides one of these decides itself how a row is read.
_READING = ("run_validation", "to_internal_value", "validate_empty_values", "run_validators", "_writable_fields")
_SHORT = 100  # characters
_KNOWN_MAX = 1_000
_UNKNOWN = ("unknown", "Unknown field.")
_READ_ONLY = ("read_only", "This field is read-only.")
_CONSTANT_DEFAULTS = (list, dict, set, tuple, str)


class _Several(NamedTuple):
    """The errors of a value, nested like DRF's."""

    detail: Any


_ERRORS = (Fault, _Several)


class _Field(NamedTuple):
    """A field of the serializer: ``types`` are Python types that need no further check, None all."""

    field: AnyField
    types: frozenset[type] | None


class RowValidator:
    """A function from a row to the serializer's validated values, or to its errors as a flat list, in the same order.

    A serializer takes 30 to 80 microseconds for a row, and a KB may hold 250 rows. So what is the same for all rows is found
    out once, and errors are collected without exceptions where that is possible. Whatever is unusual (a serializer that
    overrides how it reads, an error of ``validate``, very many errors) is left to the serializer itself.
    `tests/practices/test_validation_rows.py` compares both. Rows may share the values of defaults, and those of fields that
    are ``is_pure``: equal texts have equal values, which are dear to find.

    With ``is_text``, all values are text, as in CSV. The texts of errors are cut, as in a response.
    """

    def __init__(self, serializer: serializers.Serializer[Any], *, is_text: bool) -> None:
        self._serializer = serializer
        self._is_text = is_text
        writable = {name: field for name, field in serializer.fields.items() if not field.read_only}
        self._is_plain = _reads_plainly(serializer, writable)
        self._read_only = serializer.fields.keys() - writable.keys()
        self._fields = {name: _Field(field, sure_types(field)) for name, field in writable.items()}
        self._reads = {name: self._reading(name, field) for name, field in writable.items()}
        self._required = {
            name: FieldError(pointer_to(name), "required", str(field.error_messages["required"]))
            for name, field in writable.items()
            if field.required
        }
        # Most rows that are wrong are wrong in the same few ways.
        self._remembered = lru_cache(maxsize=256)(lambda names, faults: self._ordered(names, faults, {}))
        self._types_refused: dict[tuple[str, type], Errors] = {}
        self._constants: dict[str, Any] = {}
        self._computed: dict[str, Callable[[], Any]] = {}
        for name, field in writable.items():
            if not field.required and field.default is not empty:
                self._add_default(name, field)
        self._validates = (
            bool(serializer.validators) or type(serializer).validate is not serializers.Serializer.validate
        )
        # Whether equal rows have equal values.
        self.is_repeatable = self._is_plain and all(map(_is_constant, writable.values()))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any] | Errors:
        """Return the validated values, or the errors."""
        if not self._is_plain:
            return self._run(row)
        refused = {} if self._is_text and row.keys() <= self._reads.keys() else self._refused(row)
        if len(refused) > ERRORS_SHOWN:  # the serializer looks no further
            return self._run(row)
        values = self._constants.copy()
        wrong: list[tuple[str, Fault | _Several]] = []
        try:
            for name, value in row.items():
                if name not in refused:
                    values[name] = outcome = self._reads[name](value)
                    if type(outcome) in _ERRORS:
                        wrong.append((name, outcome))
            for name, compute in self._computed.items():
                if name not in row or name in refused:
                    values[name] = compute()
        except (SkipField, serializers.ValidationError, DjangoValidationError):
            return self._run(row)
        errors = self._errors(tuple(row), wrong, refused)
        return errors or (self._whole(row, values) if self._validates else values)

    def _reading(self, name: str, field: Any) -> Callable[[Any], Any]:
        """Return a function from a field's value to its validated value, a ``Fault`` or ``_Several``."""
        method = getattr(self._serializer, f"validate_{name}", None)
        read = _reading(field.run_validation if method is None else lambda value: method(field.run_validation(value)))
        if method is None and getattr(field, "is_quick", False):
            read = field.outcome if self._is_text else _quickly(field.outcome, otherwise=read)
        return _remembering(read) if getattr(field, "is_pure", False) else read

    def _add_default(self, name: str, field: AnyField) -> None:
        method = getattr(self._serializer, f"validate_{name}", None)
        if method is not None:
            self._computed[name] = lambda: method(field.get_default())
        elif _is_constant(field):
            self._constants[name] = field.get_default()
        else:
            self._computed[name] = field.get_default

    def _refused(self, row: Mapping[str, Any]) -> dict[str, Errors]:
        """Return the errors of names that are not writable fields, and of values of the wrong type."""
        refused: dict[str, Errors] = {}
        for name, value in row.items():
            known = self._fields.get(name)
            if known is None:
                error = _READ_ONLY if name in self._read_only else _UNKNOWN
                refused[name] = (error_cut(FieldError(pointer_to(name), *error)),)
            elif self._is_text or known.types is None or type(value) in known.types:
                continue
            elif found := self._type_refused(name, value):
                refused[name] = found
            if len(refused) > ERRORS_SHOWN:
                break
        return refused

    def _type_refused(self, name: str, value: Any) -> Errors:
        """Return the errors of a value that may be of the wrong type: the same for all texts, whole numbers and booleans."""
        of_type = (name, type(value))
        if of_type in self._types_refused:
            return self._types_refused[of_type]
        found = type_errors(self._fields[name].field, value)
        errors = tuple(map(error_cut, field_errors({name: found}))) if found else ()
        return self._types_refused.setdefault(of_type, errors) if type(value) in (str, int, bool) else errors

    def _errors(
        self, names: tuple[str, ...], wrong: list[tuple[str, Fault | _Several]], refused: dict[str, Errors]
    ) -> Errors:
        """Return the errors of a row: of its values, of required fields that it lacks, and what else is refused."""
        is_usual = not refused
        for _, one in wrong:
            is_usual &= type(one) is Fault
        return self._remembered(names, tuple(wrong)) if is_usual else self._ordered(names, wrong, refused)

    def _ordered(
        self, names: Iterable[str], wrong: Iterable[tuple[str, Fault | _Several]], refused: dict[str, Errors]
    ) -> Errors:
        """Return the errors in the serializer's order: those of its fields, then what else it refused."""
        errors = {name: _errors_of(name, one) for name, one in wrong}
        missing = self._required.keys() - names
        found: list[FieldError] = []
        for name in self._fields:
            if name in errors:
                found += errors[name]
            elif name in missing:
                found.append(self._required[name])
            elif name in refused and name in self._required:
                found += refused.pop(name)
        for more in refused.values():
            found += more
        return tuple(found[: ERRORS_SHOWN + 1])

    def _whole(self, row: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any] | Errors:
        """Apply the validators of whole rows."""
        try:
            if self._serializer.validators:
                self._serializer.run_validators(values)
            return self._serializer.validate(values)
        except (serializers.ValidationError, DjangoValidationError):
            return self._run(row)

    def _run(self, row: Mapping[str, Any]) -> dict[str, Any] | Errors:
        try:
            return self._serializer.run_validation(TextValues(row) if self._is_text else row)
        except serializers.ValidationError as error:
            return tuple(map(error_cut, field_errors(error.detail)))


def _reads_plainly(serializer: serializers.Serializer[Any], fields: Mapping[str, AnyField]) -> bool:
    """Return whether the row is read as by ``StrictSerializer``: each field from the member of its name."""
    inherited = all(getattr(type(serializer), name) is getattr(StrictSerializer, name) for name in _READING)
    return (
        inherited
        and not serializer.partial
        and all(
            field.source == name
            and not isinstance(field, serializers.HiddenField)
            and type(field).get_value.__module__.startswith("rest_framework.")
            for name, field in fields.items()
        )
    )


def _is_constant(field: AnyField) -> bool:
    """Return whether the field's default, if it has one, is the same for all rows."""
    return field.default is empty or not callable(field.default) or field.default in _CONSTANT_DEFAULTS


def _reading(validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function with errors as return values."""

    def read(value: Any) -> Any:
        try:
            return validate(value)
        except Refusal as error:
            return Fault(error.code, error.text)
        except serializers.ValidationError as error:
            return _Several(error.detail)

    return read


def _quickly(outcome: Callable[[str], Any], *, otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function that reads texts by ``outcome``, which raises no exception."""
    return lambda value: outcome(value) if type(value) is str else otherwise(value)


def _remembering(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function with a memory of short texts, which the rows of a file repeat."""
    known: dict[str, Any] = {}

    def remembering(value: Any) -> Any:
        if type(value) is not str or len(value) > _SHORT:
            return read(value)
        if value not in known:
            if len(known) >= _KNOWN_MAX:  # a miss of `lru_cache` takes about as long as reading a value
                known.clear()
            known[value] = read(value)
        return known[value]

    return remembering


def _errors_of(name: str, outcome: Fault | _Several) -> Errors:
    """Return the errors of one field."""
    if isinstance(outcome, Fault):
        return _errors_of_fault(name, outcome)
    return tuple(map(error_cut, field_errors({name: outcome.detail})))


@lru_cache(maxsize=256)
def _errors_of_fault(name: str, fault: Fault) -> Errors:
    return (error_cut(FieldError(pointer_to(name), *fault)),)
