"""Response headers in the OpenAPI document: described once, and referenced by every response that has them."""

from typing import Any

_RETRY = frozenset({"429", "503", "504"})
_TEXT = {"type": "string", "maxLength": 1024, "pattern": r"^[\x20-\x7e]+$"}
_GROUPS = r'^"[A-Za-z0-9_-]+"(, "[A-Za-z0-9_-]+")*$'

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of the request in the service's logs.",
        "required": True,
        "schema": {"type": "string", "minLength": 8, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"},
        "example": "01980c4e9f7a7c12b5d2f0a1c3e4d5f6",
    },
    "RateLimit-Policy": {
        "description": 'The limits on this request: name, quota (q) and window in seconds (w), such as "default";q=100;w=900.',
        "schema": {**_TEXT, "pattern": r'^"[^"]+";q=\d+;w=\d+(, "[^"]+";q=\d+;w=\d+)*$'},
        "example": '"anon";q=100;w=900',
    },
    "RateLimit": {
        "description": "For each limit, the requests that remain (r), and the seconds until the quota is full again (t).",
        "schema": {**_TEXT, "pattern": r'^"[^"]+";r=\d+;t=\d+(, "[^"]+";r=\d+;t=\d+)*$'},
        "example": '"anon";r=99;t=9',
    },
    "Access-Control-Allow-Origin": {
        "description": "The origin of the calling page, if it may read responses (CORS); never *.",
        "schema": {"type": "string", "format": "uri", "maxLength": 2048},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next request.",
        "required": True,
        "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
        "example": 1,
    },
    "Location": {
        "description": "The path of the created resource, or of the accepted job.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "maxLength": 2048},
    },
    "ETag": {
        "description": "The version of the resource, for If-None-Match and If-Match.",
        "schema": {"type": "string", "maxLength": 100, "pattern": '^(W/)?"[^"]+"$'},
        "example": '"7.0123456789abcdef"',
    },
    "Cache-Groups": {
        "description": "The groups of this response in caches (RFC 9875). On responses that the service caches.",
        "schema": {**_TEXT, "pattern": _GROUPS},
        "example": '"Zm9vYmFyYmF6cXV4", "all"',
    },
    "Cache-Group-Invalidation": {
        "description": "The groups whose stored responses this write has changed (RFC 9875): drop them.",
        "schema": {**_TEXT, "pattern": _GROUPS},
        "example": '"Zm9vYmFyYmF6cXV4"',
    },
}


def describe_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document the headers of every response.

    All have the request id and the limits (draft-ietf-httpapi-ratelimit-headers-10). Temporary refusals have Retry-After,
    creations have Location, and reads have an entity tag (RFC 9110, 8.8.3, 10.2.2, 10.2.3). A postprocessing hook of
    drf-spectacular.
    """
    result.setdefault("components", {})["headers"] = {name: {**header} for name, header in HEADERS.items()}
    for path in result.get("paths", {}).values():
        for method, operation in path.items():
            if isinstance(operation, dict) and "responses" in operation:
                for status, response in operation["responses"].items():
                    for name in _names(method, status, is_job="content" in response and status == "202"):
                        reference = {"$ref": f"#/components/headers/{name}"}
                        response.setdefault("headers", {}).setdefault(name, reference)
    return result


def _names(method: str, status: str, *, is_job: bool) -> list[str]:
    """Return the names of the headers of a response; a 202 with a job has Location and Retry-After."""
    names = ["X-Request-ID", "RateLimit-Policy", "RateLimit", "Access-Control-Allow-Origin"]
    names += ["Retry-After"] if status in _RETRY or is_job else []
    names += ["Location"] if status == "201" or is_job else []
    names += ["ETag"] if status in {"200", "201", "304"} and method != "delete" else []
    names += ["Cache-Groups"] if method == "get" and status in {"200", "304"} else []
    names += ["Cache-Group-Invalidation"] if method != "get" and status.startswith("2") else []
    return names
