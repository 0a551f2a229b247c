"""Strict query parameters: an undeclared, repeated or invalid parameter is a 400 that names it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.request import Request

from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.errors.problems import ERRORS_SHOWN


def query_parameters(
    request: HttpRequest | Request, allowed: Mapping[str, serializers.Field[Any, Any, Any, Any]]
) -> dict[str, Any]:
    """Return the query parameters as validated by the fields in ``allowed``.

    Absent parameters are not in the result: ``default`` and ``required`` of a field are ignored.

    Raise ``ValidationProblem`` (400) with an error for each parameter that is unknown (code ``unknown``), repeated
    (``repeated``) or invalid (the code of its field); pointers are ``?name``. Stop after ERRORS_SHOWN errors.
    """
    if request.META.get("QUERY_STRING") == "":
        return {}  # before Django parses it
    return parameters_validate(request.GET.lists(), allowed)


def parameters_validate(
    parameters: Iterable[tuple[str, Sequence[str]]], allowed: Mapping[str, serializers.Field[Any, Any, Any, Any]]
) -> dict[str, Any]:
    """Return the same of the names and values of parameters."""
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, given in parameters:
        if name not in allowed:
            errors.append(parameter_error(name, "unknown", "Unknown query parameter."))
        elif len(given) > 1:
            errors.append(parameter_error(name, "repeated", "This parameter is repeated. Send it once."))
        else:
            try:
                values[name] = allowed[name].run_validation(given[0])
            except serializers.ValidationError as error:
                errors += [parameter_error(name, *reason) for reason in _reasons(error)]
        if len(errors) > ERRORS_SHOWN:
            break
    if errors:
        raise ValidationProblem(errors=errors)
    return values


def parameter_error(name: str, code: str, detail: str) -> FieldError:
    """Return an error that points to a query parameter as ``?name``, since JSON pointers only point into bodies."""
    return FieldError(pointer=f"?{name}", code=code, detail=detail)


def _reasons(error: serializers.ValidationError) -> list[tuple[str, str]]:
    """Return the (code, detail) pairs of a field's error."""
    details = error.detail if isinstance(error.detail, list) else [error.detail]
    return [(getattr(detail, "code", "invalid"), str(detail)) for detail in details]
