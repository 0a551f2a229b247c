"""The fingerprint of a request: what it compares, and that it leaves files rewound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory
from rest_framework.parsers import FormParser
from rest_framework.request import Request

from apps.jobs.idempotency import fingerprint
from apps.practices.validation.parsers import BoundedJSONParser, BoundedMultiPartParser

PARSERS = (BoundedJSONParser, BoundedMultiPartParser, FormParser)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MADE: list[Any] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close the files of requests, as the server does."""
    yield
    while MADE:
        MADE.pop().close()


def asked(data: Any, content_type: str | None = None, *, path: str = "/x") -> Request:
    options = {} if content_type is None else {"content_type": content_type}
    plain = RequestFactory().post(path, data, **options)
    MADE.append(plain)
    return Request(plain, parsers=[parser() for parser in PARSERS])


def upload(content: bytes = b"a,b\n" * 200_000, *, name: str = "rows.csv", kind: str = "text/csv") -> Request:
    return asked({"file": SimpleUploadedFile(name, content, kind), "format": "csv"})


def test_file_is_read_and_rewound() -> None:
    request = upload()
    assert fingerprint(request) == fingerprint(upload())
    assert request.data["file"].read() == b"a,b\n" * 200_000
    assert request.data["file"].file.__class__.__name__ == "_TemporaryFileWrapper", "a large file belongs on disk"


def test_file_bytes_name_and_type_are_compared() -> None:
    requests = (upload(), upload(b"a"), upload(name="b.csv"), upload(kind="text/plain"))
    assert len({fingerprint(request) for request in requests}) == len(requests)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (("a=1&b=2", FORM), ("b=2&a=1", FORM), True),
        (("a=1&b=2", FORM), ("a=1&b=3", FORM), False),
        (('{"a": [1]}', JSON), ('{"a":[1]}', f"{JSON}; charset=UTF-8"), True),
        (('{"a": [1]}', JSON), ('{"a": ["1"]}', JSON), False),
        (('{"a": [1, 2]}', JSON), ('{"a": [2, 1]}', JSON), False),
        (('{"a": ["1"]}', JSON), ("a=1", FORM), False),
    ],
)
def test_content_is_compared_by_value(one: tuple[str, str], other: tuple[str, str], *, is_same: bool) -> None:
    assert (fingerprint(asked(*one)) == fingerprint(asked(*other))) is is_same


def test_path_and_query_are_compared() -> None:
    paths = ("/x", "/y", "/x?a=1", "/x?a=2", "/x?a=1&a=2")
    assert len({fingerprint(asked("{}", JSON, path=path)) for path in paths}) == len(paths)
    assert fingerprint(asked("{}", JSON, path="/x?a=1&b=2")) == fingerprint(asked("{}", JSON, path="/x?b=2&a=1"))
