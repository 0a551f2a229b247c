"""Conditional requests in the OpenAPI document."""

from copy import deepcopy
from typing import Any

from apps.practices.caching.conditional import LONGEST

_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "The ETag of the response that you already have. If it is still current, the answer is 304 without a body.",
    "schema": {"type": "string", "maxLength": LONGEST},
}
# A tag from an ETag header, which a proxy may have made weak or given a suffix.
_TAG = r'(W/)?"[\x21\x23-\x7e]*"'
_IF_MATCH = {"type": "string", "maxLength": LONGEST, "pattern": rf"^(\*|{_TAG}(, ?{_TAG})*)$"}


def describe_revalidation(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document If-None-Match and 304 on every JSON read (RFC 9110, 13.1.2), and the syntax of If-Match on writes.

    A postprocessing hook of drf-spectacular.
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
            read["responses"].setdefault("304", {"description": "Not modified: the ETag in If-None-Match is current."})
    return result
