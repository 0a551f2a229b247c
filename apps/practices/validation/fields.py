"""Serializer fields that store clean, bounded values.

Django REST framework's own fields suffice for booleans and choices. They do not limit the characters of a text, the size of a
number, or the spellings of numbers and ids.
"""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.validators import EmailValidator, URLValidator
from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.practices.errors.problems import ERRORS_SHOWN
from apps.practices.validation.addresses import EMAIL_LENGTH, email_clean
from apps.practices.validation.cleaning import CleanTextField, QuickFailure, Refusals, cleaned
from apps.practices.validation.slugs import slug_or_fault
from apps.practices.validation.text import Fault, UncleanText, clean_plain, html_or_fault, plain_or_fault, require_clean

INTEGER = (-(2**31), 2**31 - 1)  # PostgreSQL's integer
EXACT_INTEGER = 2**53 - 1  # exact in every JSON parser (RFC 7493, section 2.2)
_DIGITS = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class PlainTextField(CleanTextField):
    """Text without markup: normal form C, no NUL, control or bidirectional control characters.

    ``max_length`` is required, and counts characters of the cleaned text. ``multiline=True`` allows tabs
    and line feeds. Error codes: ``nul``, ``surrogate``, ``bidi``, ``control``, ``marks`` and those of ``CharField``.
    """

    refused = ""  # further characters that a subclass refuses, for the OpenAPI document
    unchanged = re.compile(r"[!-~](?:[ -~]*[!-~])?")

    def __init__(self, *, max_length: int, multiline: bool = False, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.multiline = multiline

    def clean(self, text: str) -> str | Fault:
        return plain_or_fault(text, multiline=self.multiline)


class RichTextField(CleanTextField):
    """HTML with the allowed tags; everything else is removed before it is stored.

    ``max_length`` is required, and counts characters of the cleaned HTML. Error codes as ``PlainTextField``, and ``html``.
    """

    unchanged = re.compile(r"[!-%'-;=?-~](?:[ -%'-;=?-~]*[!-%'-;=?-~])?")

    def clean(self, text: str) -> str | Fault:
        return html_or_fault(text)


class CleanSlugField(CleanTextField):
    """A word of letters, digits, hyphens and underscores in normal form C, of any script; ``max_length`` is required.

    ``lowercase=True`` converts it to lower case. Error code ``invalid`` for any other text.
    """

    unchanged = re.compile(r"[a-z0-9_-]+")

    def __init__(self, *, max_length: int, lowercase: bool = False, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.lowercase = lowercase

    def clean(self, text: str) -> str | Fault:
        if len(text) > self.max_length * 4:  # before cleaning: normal form C is never so much shorter
            return self.failure("max_length", max_length=self.max_length)
        return slug_or_fault(text, lowercase=self.lowercase)


class WebAddressField(CleanTextField, serializers.URLField):
    """An http or https URL without credentials, cleaned as plain text; ``max_length`` is required. Error code ``invalid``."""

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.validators = [one for one in self.validators if not isinstance(one, URLValidator)]
        self.validators.append(URLValidator(schemes=["http", "https"], message=self.error_messages["invalid"]))

    def clean(self, text: str) -> str | Fault:
        address = plain_or_fault(text)
        if isinstance(address, str) and _has_credentials(address):
            return self.failure("invalid")  # https://bank.example@elsewhere.example leads to elsewhere.example
        return address


class EmailAddressField(CleanTextField, serializers.EmailField):
    """An e-mail address in the form that is stored and compared: lower case, the domain in ASCII (`email_clean`)."""

    def __init__(self, *, max_length: int = EMAIL_LENGTH, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.validators = [one for one in self.validators if not isinstance(one, EmailValidator)]

    def clean(self, text: str) -> str | Fault:
        try:
            return email_clean(text)
        except UncleanText as error:
            return Fault(error.code, error.detail)


class BoundedIntegerField(QuickFailure, serializers.IntegerField):
    """A whole number within bounds, which default to those of PostgreSQL's ``integer``.

    Text must be ASCII digits: forms and query strings have no numbers.
    """

    def __init__(self, *, min_value: int = INTEGER[0], max_value: int = INTEGER[1], **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or (isinstance(data, str) and not _DIGITS.fullmatch(data.strip(" "))):
            self.fail("invalid")
        return super().to_internal_value(data)


class BoundedFloatField(QuickFailure, serializers.FloatField):
    """A number between two required bounds; NaN and booleans are ``invalid``."""

    def __init__(self, *, min_value: float, max_value: float, **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **options)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class BoundedDecimalField(QuickFailure, serializers.DecimalField):
    """An exact number of at most ``max_digits`` digits, ``decimal_places`` of them after the point.

    Text must be ASCII digits with an optional point: no exponent, no ``1_000``, no other digits (``invalid``).
    """

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or (isinstance(data, str) and not _DECIMAL.fullmatch(data.strip(" "))):
            self.fail("invalid")
        return super().to_internal_value(data)


class BoundedListField(QuickFailure, serializers.ListField):
    """A list of at most ``max_length`` members (required), counted before any is validated.

    Validation stops after ERRORS_SHOWN errors. Django REST framework's own field validates all members before it counts them.
    Error codes: ``max_length``, ``not_a_list`` and those of ``child``.
    """

    def __init__(self, *, child: Any, max_length: int, **options: Any) -> None:
        super().__init__(child=child, max_length=max_length, **options)
        self.members_max = max_length

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > self.members_max:
            self.fail("max_length", max_length=self.members_max)
        return super().to_internal_value(data)

    def outcome(self, text: str) -> Fault:
        """Refuse text, as for example the cell of a CSV row."""
        return self.failure("not_a_list", input_type=type(text).__name__)

    def run_child_validation(self, data: Any) -> list[Any]:
        values: list[Any] = []
        errors: dict[Any, Any] = {}
        for index, member in enumerate(data):
            try:
                values.append(self.child.run_validation(member))
            except serializers.ValidationError as error:
                errors[index] = error.detail
            if len(errors) > ERRORS_SHOWN:
                break
        if errors:
            raise Refusals(errors)
        return values


class CanonicalUUIDField(QuickFailure, serializers.UUIDField):
    """A UUID as 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4); no numbers, braces or URNs."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and not _UUID.fullmatch(data):
            self.fail("invalid", value=data[:100])
        if isinstance(data, int):
            self.fail("invalid", value=str(data)[:100])
        return super().to_internal_value(data)


@extend_schema_field({})
class BoundedJSONField(serializers.JSONField):
    """A JSON value of any shape, with at most ``max_length`` characters in compact form and ``depth`` levels.

    Strings and names may contain what ``PlainTextField(multiline=True)`` accepts, and are not changed. Whole numbers must be
    exact in every JSON parser. Error codes: those of plain text, ``max_length``, ``depth``, ``number``.
    """

    default_error_messages = {
        "max_length": "As JSON, the value is longer than {max_length} characters.",
        "depth": "The value is nested deeper than {depth} levels.",
        "number": "A number is too large to be stored exactly.",
    }

    def __init__(self, *, max_length: int, depth: int = 8, **options: Any) -> None:
        super().__init__(**options)
        self.max_length, self.depth = max_length, depth

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        try:
            size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
        except (ValueError, RecursionError):  # NaN, or a recursive document
            self.fail("invalid")
        if size > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        for level, one in _walked(value):
            if level > self.depth:
                self.fail("depth", depth=self.depth)
            if isinstance(one, (int, float)) and abs(one) > EXACT_INTEGER:  # jsonb gives 1e300 back as an integer
                self.fail("number")
            for text in (one,) if isinstance(one, str) else one if isinstance(one, dict) else ():
                cleaned(require_clean, text, multiline=True)
        return value


class ReferenceField(serializers.PrimaryKeyRelatedField):
    """The primary key of a row that the caller may read. The validated value is the instance, found by one query.

    ``readable`` takes the caller and returns the rows of ``model`` that they may read. The caller is ``context["viewer"]`` of
    the serializer; without it, raise ``ImproperlyConfigured``. A value that cannot be a key of the model is
    ``incorrect_type``. A key of no readable row is ``does_not_exist``, whether such a row exists or not (OWASP API1:2023).
    An update of ``instance`` may keep the row that it already refers to.
    """

    def __init__(self, model: type[Model], *, readable: Callable[[Any], "QuerySet[Any]"], **options: Any) -> None:
        super().__init__(queryset=model._default_manager.none(), **options)
        self.model, self.readable = model, readable

    def to_internal_value(self, data: Any) -> Any:
        key = self.model._meta.pk
        if key.get_internal_type() == "UUIDField":
            wanted: Any = _refused_as(self, CanonicalUUIDField(), data)
        elif isinstance(data, bool) or not isinstance(data, (int, str)):
            self.fail("incorrect_type", data_type=type(data).__name__)
        elif key.get_internal_type().endswith(("IntegerField", "AutoField")):
            wanted = _refused_as(self, BoundedIntegerField(min_value=-(2**63), max_value=2**63 - 1), data)
        else:
            wanted = cleaned(clean_plain, str(data)[:1000])
        rows = self.model._default_manager.all() if wanted == self._current() else self.readable(self._viewer())
        # A slice, not get(): the N+1 detection would take two fields that refer to one model for a loop.
        for row in rows.filter(pk=wanted)[:1]:
            return row
        return self.fail("does_not_exist", pk_value=wanted)

    def _viewer(self) -> Any:
        try:
            return self.context["viewer"]
        except KeyError:
            raise ImproperlyConfigured(
                f'{self.field_name} needs the caller. Pass the serializer context={{"viewer": request.user}}.'
            ) from None

    def _current(self) -> Any:
        instance = getattr(self.parent, "instance", None)
        return instance.serializable_value(str(self.source)) if isinstance(instance, Model) else None


def _refused_as(field: serializers.Field[Any, Any, Any, Any], reader: Any, data: Any) -> Any:
    try:
        return reader.run_validation(data)
    except serializers.ValidationError:
        field.fail("incorrect_type", data_type=type(data).__name__)


def _walked(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield each value of a document with its level, which is 1 for the document itself. Without recursion."""
    pending = [(1, value)]
    while pending:
        level, one = pending.pop()
        yield level, one
        if isinstance(one, (dict, list)):
            pending += [(level + 1, inner) for inner in (one.values() if isinstance(one, dict) else one)]


def _has_credentials(address: str) -> bool:
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return False  # not a URL; the validator refuses it
