"""A flat list of errors, each with a JSON pointer (RFC 6901), from the nested errors of serializers and forms."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils.encoding import force_str

from apps.practices.errors.problems import ERRORS_SHOWN, FieldError

# Keys of DRF and Django for errors that concern the whole object.
_WHOLE = frozenset({"non_field_errors", NON_FIELD_ERRORS})


def field_errors(detail: Any) -> list[FieldError]:
    """Flatten the ``detail`` of DRF's ValidationError; nested serializers, list fields and ``many=True`` included.

    A key that begins with ``?`` names a query parameter and is not changed. Return at most ERRORS_SHOWN + 1 errors: the
    last shows that there are more.
    """
    return list(islice(_walk(detail, pointer=""), ERRORS_SHOWN + 1))


def model_errors(error: DjangoValidationError) -> list[FieldError]:
    """Flatten Django's ValidationError, as ``full_clean()`` raises it."""
    if hasattr(error, "error_dict"):
        by_field: Mapping[str, list[DjangoValidationError]] = error.error_dict
    else:
        by_field = {NON_FIELD_ERRORS: error.error_list}
    return [
        FieldError(_join("", name), item.code or "invalid", " ".join(item.messages))
        for name, items in by_field.items()
        for item in items
    ]


def pointer_to(name: str) -> str:
    """Return the JSON pointer of a member of the document."""
    return _join("", name)


def _walk(detail: Any, *, pointer: str) -> Iterator[FieldError]:
    if isinstance(detail, (list, tuple)):
        for index, value in enumerate(detail):
            # A list of texts has several messages about one value; any other list has one entry for each item.
            item = pointer if isinstance(value, str) else _join(pointer, index)
            yield from _walk(value, pointer=item)
    elif not isinstance(detail, str) and isinstance(detail, Mapping):  # the second is slow to say no
        for key, value in detail.items():
            yield from _walk(value, pointer=_join(pointer, key))
    else:
        yield FieldError(pointer, str(getattr(detail, "code", None) or "invalid"), force_str(detail))


def _join(pointer: str, key: Any) -> str:
    name = str(key)
    if name in _WHOLE:
        return pointer
    if not pointer and name.startswith("?"):
        return name
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
