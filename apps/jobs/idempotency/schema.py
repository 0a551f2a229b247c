"""Idempotency-Key in OpenAPI: the header, and what it may be answered with, on the operations that take it and no others."""

from copy import deepcopy
from typing import Any

from rest_framework.settings import api_settings

from apps.jobs.services.idempotency import IdempotencyKeyInUse, IdempotencyKeyReused
from apps.practices.errors import Problem
from apps.practices.errors.responses import CONTENT_TYPE

KEY_LENGTH = 255
PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": (
        "A new random value for each new request, such as a UUID. Repeated with the same key, the request is not carried out "
        "again: its first answer is given again."
    ),
    # Spaces around a header's value belong to nobody.
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
REPLAYED = {"description": "Given again under an Idempotency-Key.", "schema": {"type": "string", "const": "true"}}
AGAIN = {
    "description": "Seconds to wait before asking again, while a request with the same Idempotency-Key is carried out.",
    "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
}


def described(view: Any, inner: Any) -> Any:
    """Have the operation of ``view``, which stands around ``inner``, described with the header."""
    base = getattr(inner, "kwargs", {}).get("schema", api_settings.DEFAULT_SCHEMA_CLASS)
    view.kwargs = {"schema": type("IdempotentSchema", (_Idempotent, base), {})}  # where drf-spectacular looks for it
    return view


class _Idempotent:
    """Adds to what drf-spectacular writes of an operation."""

    def get_operation(self, *args: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **options)  # type: ignore[misc]  # the other class's
        if operation is None:
            return None
        operation["parameters"] = [*operation.get("parameters", ()), deepcopy(PARAMETER)]
        answers = operation["responses"]
        for status, answer in answers.items():
            if status.startswith("2"):
                answer.setdefault("headers", {})["Idempotency-Replayed"] = deepcopy(REPLAYED)
        _refused(answers, IdempotencyKeyInUse).setdefault("headers", {})["Retry-After"] = deepcopy(AGAIN)
        _refused(answers, IdempotencyKeyReused)
        return operation


def _refused(answers: dict[str, Any], problem: type[Problem]) -> dict[str, Any]:
    """Name a problem among the answers, beside others of its status."""
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer: dict[str, Any] = answers.setdefault(str(problem.status), {"description": "", "content": content})
    answer["description"] = "; ".join(filter(None, (answer["description"], problem.title)))
    return answer
