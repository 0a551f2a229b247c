"""Conditional reads in OpenAPI: whatever answers JSON to GET can be asked whether it has changed."""

from copy import deepcopy
from typing import Any

from apps.practices.caching.conditional import LONGEST

_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "The ETag of what is already at hand: 304 without a body if nothing has changed.",
    "schema": {"type": "string", "maxLength": LONGEST},
}
# A tag as ETag gave it, perhaps weakened or marked by an edge on the way.
_TAG = r'(W/)?"[\x21\x23-\x7e]*"'
_IF_MATCH = {"type": "string", "maxLength": LONGEST, "pattern": rf"^(\*|{_TAG}(, ?{_TAG})*)$"}


def describe_revalidation(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: reads take If-None-Match and may answer 304 (RFC 9110, 13.1.2).

    If-Match, where a write declares it, takes entity tags and nothing else.
    """
    for path in result.get("paths", {}).values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()) if isinstance(operation, dict) else ():
                if parameter["in"] == "header" and parameter["name"] == "If-Match":
                    parameter["schema"] = dict(_IF_MATCH)
        read = path.get("get")
        if read and "application/json" in read["responses"].get("200", {}).get("content", {}):
            parameters = read.setdefault("parameters", [])
            if not any(one.get("name") == "If-None-Match" for one in parameters):
                parameters.append(deepcopy(_IF_NONE_MATCH))
            read["responses"].setdefault("304", {"description": "Nothing has changed since."})
    return result
