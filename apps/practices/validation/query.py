"""Query parameters, strictly: each is declared, given once, and valid, or the answer is a 400 that names it."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.request import Request

from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.errors.problems import ERRORS_SHOWN


def query_parameters(
    request: HttpRequest | Request, allowed: Mapping[str, serializers.Field[Any, Any, Any, Any]]
) -> dict[str, Any]:
    """Read the query string by the fields of ``allowed``; give the parameters present, as validated values.

    A parameter's field decides what it may be; its ``default`` and ``required`` are not read, since an
    absent parameter is simply absent. ``allowed={}`` accepts no parameter at all.

    Reading stops once there are more errors than an answer lists.

    Raises ``ValidationProblem`` (400) with one error for each parameter that is unknown (code
    ``unknown``), given twice (``repeated``) or invalid (its field's code); pointers are ``?name``.
    """
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, given in request.GET.lists():
        if name not in allowed:
            errors.append(parameter_error(name, "unknown", "This parameter is not known here."))
        elif len(given) > 1:
            errors.append(parameter_error(name, "repeated", "Give this parameter once."))
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
    """Name a query parameter in an error: pointer ``?name`` (a JSON pointer can only name parts of a body)."""
    return FieldError(pointer=f"?{name}", code=code, detail=detail)


def _reasons(error: serializers.ValidationError) -> list[tuple[str, str]]:
    """Flatten the error of one field to (code, detail) pairs."""
    details = error.detail if isinstance(error.detail, list) else [error.detail]
    return [(getattr(detail, "code", "invalid"), str(detail)) for detail in details]
