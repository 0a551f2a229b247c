"""Check responses against the OpenAPI document: the status, type, headers and body that the operation promises."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

PROBLEM = "application/problem+json"
_REFERENCE = re.compile(r"^#/components/")
_PARAMETER = re.compile(r"\\\{[^}]+\\\}")
# Served beside the operations, and no part of the document; the sample's are for tests of waiting and of failing.
BESIDE = re.compile(r"^/api/(schema|docs|v1/sample/notes/(slow|busy|broken|effects))$")


class Contract:
    """Judges answers by one document; validators are compiled once. Answers outside ``/api/`` are none of its business."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._fixed = {path: item for path, item in document["paths"].items() if "{" not in path}
        self._patterns = [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), item)
            for path, item in document["paths"].items()
            if "{" in path
        ]
        self._validator = cache(self._compiled)

    def violations(
        self, *, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | None
    ) -> list[str]:
        """Return what the answer breaks, a sentence each; nothing when it keeps its word.

        ``headers`` by lower-case name. ``body`` None: not looked at, as with streams.
        """
        if not path.startswith("/api/") or BESIDE.match(path):
            return []
        head = method == "HEAD"
        operation = self._operation("GET" if head else method, path)
        answer = (operation or {}).get("responses", {}).get(str(status))
        if operation is not None and answer is None and status != 405:
            return [f"{status} is not documented"]
        if answer is None:
            return self._unknown(method=method, status=status, headers=headers, body=body)
        answer = self._resolved(answer)
        found = self._headers(answer, headers)
        content = answer.get("content", {})
        return found + self._content(content, status=status, headers=headers, body=None if head else body)

    def operations(self) -> int:
        """Count them."""
        return sum(method in {"get", "post", "put", "patch", "delete"} for item in self._items() for method in item)

    def _items(self) -> list[dict[str, Any]]:
        return list(self.document["paths"].values())

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        item = self._fixed.get(path)
        if item is None:
            item = next((item for pattern, item in self._patterns if pattern.fullmatch(path)), None)
        operation: dict[str, Any] | None = (item or {}).get(method.lower())
        return operation

    def _unknown(self, *, method: str, status: int, headers: Mapping[str, str], body: bytes | None) -> list[str]:
        """Judge what is in no operation: it may be refused with a problem, or be the OPTIONS of a browser's preflight."""
        if method == "OPTIONS" and status < 400:
            return []
        if status < 400:
            return [f"{status} from an operation that is not documented"]
        content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        return self._content(content, status=status, headers=headers, body=None if method == "HEAD" else body)

    def _headers(self, answer: dict[str, Any], headers: Mapping[str, str]) -> list[str]:
        found = []
        for name, header in answer.get("headers", {}).items():
            header = self._resolved(header)
            value = headers.get(name.lower())
            if value is None:
                found += [f"the header {name} is missing"] if header.get("required") else []
                continue
            instance: Any = int(value) if header["schema"].get("type") == "integer" and value.isdigit() else value
            found += [f"the header {name}: {error}" for error in self._errors(header["schema"], instance)]
        return found

    def _content(
        self, content: dict[str, Any], *, status: int, headers: Mapping[str, str], body: bytes | None
    ) -> list[str]:
        given = headers.get("content-type", "").partition(";")[0]
        if not content:
            return [f"{status} with a body of {len(body)} bytes, and none is documented"] if body else []
        if given not in content:
            return [f"{status} as {given or 'nothing'}, documented are {', '.join(content)}"]
        if body is None or not given.endswith("json"):
            return []
        try:
            document = json.loads(body)
        except ValueError as error:
            return [f"{status}: the body is not JSON: {error}"]
        return [f"{status}: {error}" for error in self._errors(content[given]["schema"], document)]

    def _errors(self, schema: dict[str, Any], instance: Any) -> list[str]:
        validator = self._validator(json.dumps(schema, sort_keys=True))
        if validator.is_valid(instance):
            return []
        return [
            f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(instance)
        ]

    def _compiled(self, schema: str) -> jsonschema_rs.Draft202012Validator:
        whole = {**json.loads(schema), "components": self.document.get("components", {})}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference to a component."""
        reference = node.get("$ref")
        if reference is None:
            return node
        kind, name = _REFERENCE.sub("", reference).split("/")
        resolved: dict[str, Any] = self.document["components"][kind][name]
        return resolved


@cache
def contract_of(urlconf: str) -> Contract:
    """Return the contract of a URL configuration, built once a process."""
    from apps.operations.openapi import document_generate

    return Contract(json.loads(json.dumps(document_generate(urlconf=urlconf), default=str)))
