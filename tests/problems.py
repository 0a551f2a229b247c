"""The check of a problem document, which all tests of errors use."""

import json
import re
from typing import Any

from tests.processes import ROOT

_MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}
# What an answer to a stranger never holds: traces, paths, SQL, names of classes, settings.
_INTERNAL = re.compile(
    re.escape(f"{ROOT}/")
    + r'|Traceback|File "|site-packages|/home/|\.py\b|SELECT |INSERT INTO|psycopg|redis\.exceptions|django\.'
    r"|constraint|DATABASE_URL|SECRET_KEY|Exception\b|0x[0-9a-f]{6,}"
)


def assert_problem(
    response: Any, status: int, type: str | None = None, *, pointer: str | None = None
) -> dict[str, Any]:
    """Assert that ``response`` is a whole problem document and nothing more; return the document.

    Takes answers of Django's test client, of httpx-like clients (``status_code``, ``headers``, ``content``) and of urllib
    (``status``, ``headers``, ``read()``). ``type`` is the slug. ``pointer``: one of the errors points there.
    """
    found = getattr(response, "status_code", None) or response.status
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = response.content if hasattr(response, "content") else response.read()
    assert found == status, f"{found} instead of {status}: {body[:500]!r}"
    assert headers.get("content-type") == "application/problem+json", headers.get("content-type")
    assert_answer_headers(headers)
    document = json.loads(body)
    assert set(document) >= _MEMBERS, f"missing: {_MEMBERS - set(document)}"
    assert document["status"] == status
    assert re.fullmatch(r"https?://[^/]+/problems/[a-z0-9-]+", document["type"]), document["type"]
    if type is not None:
        assert document["type"].rpartition("/")[2] == type, document
    for member in ("title", "detail", "instance"):
        assert document[member], f"{member} is empty"
        assert isinstance(document[member], str), member
    assert document["instance"].startswith("/"), document["instance"]
    assert "?" not in document["instance"], "the query may hold secrets"
    assert document["request_id"] == headers["x-request-id"]
    _assert_errors(document, pointer=pointer)
    told = {name: value for name, value in document.items() if name != "instance"}
    leak = _INTERNAL.search(json.dumps(told))
    assert not leak, f"leaks {leak[0]!r}: {document}"
    return document


def assert_answer_headers(headers: dict[str, str]) -> None:
    """Assert what every error answer carries. Names are in lower case."""
    assert headers.get("x-content-type-options") == "nosniff"
    assert headers.get("cache-control") == "no-store"
    assert headers.get("x-request-id"), "no request id"
    assert headers.get("content-security-policy"), "no policy"


def _assert_errors(document: dict[str, Any], *, pointer: str | None) -> None:
    errors = document.get("errors", [])
    for error in errors:
        assert set(error) == {"pointer", "code", "detail"}, error
        assert error["pointer"] == "" or error["pointer"][0] in "/?" or error["pointer"][-1] == ":", error
        assert error["code"]
        assert error["detail"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in errors], errors
