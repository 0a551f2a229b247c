"""The judge itself: each way of breaking the document's word is named, and an answer that keeps it is left alone."""

import json

import pytest

from tests.contract.document import contract_of

HEADERS = {
    "content-type": "application/json",
    "x-request-id": "0123456789abcdef",
    "ratelimit": '"anon";r=1;t=1',
    "ratelimit-policy": '"anon";q=1;w=1',
    "etag": '"0123456789abcdef"',
}
USER = {
    "id": "01980c4e-9f7a-7c12-b5d2-f0a1c3e4d5f6",
    "email": "a@example.com",
    "name": "A",
    "is_active": True,
    "is_staff": False,
    "email_verified": False,
    "created_at": "2026-11-23T00:00:00Z",
    "updated_at": "2026-11-23T00:00:00Z",
}
PROBLEM = {
    "type": "https://localhost/problems/not-found",
    "title": "Not found",
    "status": 404,
    "detail": "There is nothing here.",
    "instance": "/api/v1/nowhere",
    "request_id": "0123456789abcdef",
}
PROBLEM_HEADERS = {**HEADERS, "content-type": "application/problem+json"}


def broken(path="/api/v1/me", *, method="GET", status=200, headers=HEADERS, body=USER):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return contract_of("tests.sample.urls").violations(
        method=method, path=path, status=status, headers=headers, body=content
    )


def test_what_is_promised_is_left_alone():
    assert broken() == []
    assert broken(method="HEAD", body=b"") == []
    assert broken(status=304, headers={**HEADERS, "content-type": ""}, body=b"") == []
    assert broken("/api/v1/nowhere", status=404, headers=PROBLEM_HEADERS, body=PROBLEM) == []
    assert broken(method="PUT", status=405, headers=PROBLEM_HEADERS, body={**PROBLEM, "status": 405}) == []
    assert broken("/elsewhere", status=418, body=b"") == []
    servers = {"type": "about:blank", "title": "URI Too Long", "status": 414, "detail": "Too long."}
    assert broken(status=414, headers={"content-type": "application/problem+json"}, body=servers) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 418}, "418 is not documented"),
        ({"headers": {**HEADERS, "content-type": "text/html"}}, "200 as text/html"),
        ({"headers": {"content-type": "application/json"}}, "the header X-Request-ID is missing"),
        ({"headers": {**HEADERS, "ratelimit": "many"}}, "the header RateLimit:"),
        ({"body": {**USER, "is_staff": "yes"}}, "is_staff"),
        ({"body": {name: USER[name] for name in USER if name != "email"}}, "email"),
        ({"body": {**USER, "created_at": "yesterday"}}, "created_at"),
        ({"body": b"{"}, "not JSON"),
        ({"status": 304, "body": b"{}"}, "none is documented"),
        ({"status": 404, "headers": PROBLEM_HEADERS, "path": "/api/v1/nowhere", "body": {}}, "required property"),
        ({"path": "/api/v1/nowhere"}, "not documented"),
        ({"path": "/api/v1/nowhere", "status": 404, "body": PROBLEM}, "documented are application/problem+json"),
    ],
)
def test_each_lie_is_named(answer, said):
    found = broken(**answer)
    assert any(said in one for one in found), found
