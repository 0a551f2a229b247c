"""Idempotency-Key in OpenAPI: the header and its responses, on the operations that take it."""

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
        "A new random value for each new request, such as a UUID. A request sent again with the same key takes no effect: its "
        "first response is sent again."
    ),
    # HTTP strips spaces around a header's value.
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
REPLAYED = {
    "description": "Present if this is the stored response to an earlier request with the same Idempotency-Key.",
    "schema": {"type": "string", "const": "true"},
}
RETRY_AFTER = {
    "description": "Seconds to wait before sending the request again, if one with the same Idempotency-Key is in progress.",
    "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
}


def schema_add_key(wrapper: Any, post: Any) -> Any:
    """Return ``wrapper``, which wraps ``post``, with the header added to its OpenAPI operation."""
    base = getattr(post, "kwargs", {}).get("schema", api_settings.DEFAULT_SCHEMA_CLASS)
    wrapper.kwargs = {"schema": type("IdempotentSchema", (_Idempotent, base), {})}  # drf-spectacular reads it here
    return wrapper


class _Idempotent:
    """Add the header and its responses to drf-spectacular's operation."""

    def get_operation(self, *args: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **options)  # type: ignore[misc]  # of the base
        if operation is None:
            return None
        operation["parameters"] = [*operation.get("parameters", ()), deepcopy(PARAMETER)]
        responses = operation["responses"]
        for status, response in responses.items():
            if status.startswith("2"):
                response.setdefault("headers", {})["Idempotency-Replayed"] = deepcopy(REPLAYED)
        in_use = _add_problem(responses, IdempotencyKeyInUse)
        in_use.setdefault("headers", {})["Retry-After"] = deepcopy(RETRY_AFTER)
        _add_problem(responses, IdempotencyKeyReused)
        return operation


def _add_problem(responses: dict[str, Any], problem: type[Problem]) -> dict[str, Any]:
    """Add a problem to the responses, beside others with the same status."""
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = responses.setdefault(str(problem.status), {"description": "", "content": content})
    response["description"] = "; ".join(filter(None, (response["description"], problem.title)))
    return response
