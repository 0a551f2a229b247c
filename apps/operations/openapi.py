"""The OpenAPI document: how it is generated, and what applies to all operations."""

import threading
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

_generating = threading.Lock()
# The limits are in `project/gunicorn.py`, the responses in `project/threads.py` and `deploy/Caddyfile`.
_SERVER_ERRORS = {
    "414": "The request line is longer than 8,190 bytes.",
    "431": "A header is longer than 8,190 bytes, or there are more than 100.",
}
_HEADERS = ("RateLimit-Policy", "RateLimit", "Access-Control-Allow-Origin")
_LINE = {"type": "string", "maxLength": 200, "pattern": r"^[^\u0000]*$"}
_SERVER_PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457) from the server or the edge, before the application.",
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": _LINE,
        "status": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599},
        "detail": _LINE,
    },
    "required": ["type", "title", "status", "detail"],
}


def document_generate(*, urlconf: str | None = None) -> dict[str, Any]:
    """Return the OpenAPI document of a URL configuration (None: the service's own), generated once per process.

    drf-spectacular keeps its state in classes, so one of two concurrent generations would fail. The second waits for the first.
    """
    with _generating:
        return _generated(urlconf)


@cache
def _generated(urlconf: str | None) -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator(urlconf=urlconf).get_schema(request=None, public=True)
    return document


def describe_operations(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add tags, descriptions, security and server errors to all operations. A postprocessing hook of drf-spectacular.

    An app's tag appears without configuration. An operation that reads no credential gets an empty ``security`` list, since
    one without the list would inherit the document's requirement (OpenAPI 3.1.1, 4.8.10). Errors of the server or the edge,
    which the application never sees, have one schema.
    """
    operations = [one for path in result.get("paths", {}).values() for one in path.values() if isinstance(one, dict)]
    names = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    result["tags"] = [{"name": name, "description": f"Everything below /api/v1/{name}."} for name in names]
    for operation in operations:
        if "responses" in operation and not operation.get("description"):
            operation["description"] = f"{operation.get('summary') or operation['operationId']}."
        if "responses" in operation:
            operation.setdefault("security", [])
            operation["responses"] |= {
                status: {"$ref": f"#/components/responses/{status}"} for status in _SERVER_ERRORS
            }
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["ServerProblem"] = _SERVER_PROBLEM
    components["responses"] = {status: _server_error(text) for status, text in _SERVER_ERRORS.items()}
    return result


def _server_error(description: str) -> dict[str, Any]:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ServerProblem"}}}
    return {"description": description, "headers": headers, "content": content}
