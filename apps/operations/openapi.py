"""The OpenAPI document as a whole: its groups, for the reference and for clients that are generated from it."""

import threading
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

_generating = threading.Lock()


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


def describe_tags(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: name the groups in use, so that an app's own appears without a line."""
    operations = [one for path in result.get("paths", {}).values() for one in path.values() if isinstance(one, dict)]
    names = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    result["tags"] = [{"name": name, "description": f"Everything below /api/v1/{name}."} for name in names]
    for operation in operations:
        if "responses" in operation and not operation.get("description"):
            operation["description"] = f"{operation.get('summary') or operation['operationId']}."
    return result
