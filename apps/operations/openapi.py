"""The OpenAPI document as a whole: its groups, for the reference and for clients that are generated from it."""

import threading
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

_generating = threading.Lock()
# `project/gunicorn.py` has the bounds; `project/threads.py` and `deploy/Caddyfile` the answer.
_BEFORE = {
    "414": "The request line is longer than 8,190 bytes.",
    "431": "A header is longer than 8,190 bytes, or there are more than 100.",
}
_HEADERS = ("RateLimit-Policy", "RateLimit", "Access-Control-Allow-Origin")
_LINE = {"type": "string", "maxLength": 200, "pattern": r"^[^\u0000]*$"}
_SERVER_PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457) of what is before the application.",
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": _LINE,
        "status": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599},
        "detail": _LINE,
    },
    "required": ["type", "title", "status", "detail"],
}


def document_generate(*, urlconf: str | None = None) -> dict[str, Any]:
    """This function will return the OpenAPI document of a URL configuration (None: the service's own), made once a process.

    drf-spectacular keeps what it is at in its classes: of two generations at once in a process, one fails. Whoever comes
    meanwhile waits for the one under way.
    """
    with _generating:
        return _generated(urlconf)


@cache
def _generated(urlconf: str | None) -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator(urlconf=urlconf).get_schema(request=None, public=True)
    return document


def describe_operations(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: name the groups in use, so that an app's own appears without a line.

    Every operation has a description and says what authorises it: an empty list where no credential is read, since an
    operation without one has the document's own requirement (OpenAPI 3.1.1, 4.8.10). What the server or the edge refuses
    before the application sees it is one shape, described once.
    """
    operations = [one for path in result.get("paths", {}).values() for one in path.values() if isinstance(one, dict)]
    names = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    result["tags"] = [{"name": name, "description": f"Everything below /api/v1/{name}."} for name in names]
    for operation in operations:
        if "responses" in operation and not operation.get("description"):
            operation["description"] = f"{operation.get('summary') or operation['operationId']}."
        if "responses" in operation:
            operation.setdefault("security", [])
            operation["responses"] |= {status: {"$ref": f"#/components/responses/{status}"} for status in _BEFORE}
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["ServerProblem"] = _SERVER_PROBLEM
    components["responses"] = {status: _before(text) for status, text in _BEFORE.items()}
    return result


def _before(description: str) -> dict[str, Any]:
    """Give an answer that knows no request, and so has no id of one."""
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ServerProblem"}}}
    return {"description": description, "headers": headers, "content": content}
