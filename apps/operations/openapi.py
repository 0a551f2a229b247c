"""The OpenAPI document as a whole: its groups, for the reference and for clients that are generated from it."""

from typing import Any


def describe_tags(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: name the groups in use, so that an app's own appears without a line."""
    operations = [one for path in result.get("paths", {}).values() for one in path.values() if isinstance(one, dict)]
    names = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    result["tags"] = [{"name": name, "description": f"Everything below /api/v1/{name}."} for name in names]
    for operation in operations:
        if "responses" in operation and not operation.get("description"):
            operation["description"] = f"{operation.get('summary') or operation['operationId']}."
    return result
