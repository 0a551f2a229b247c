"""The fingerprint of a request: one hash, which is the same when the request is sent again."""

import json
from hashlib import sha256
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from rest_framework.request import Request

from apps.practices.mechanisms.requests import django_request


def fingerprint(request: Request) -> bytes:
    """Return the SHA-256 of the request's method, path, query, content type and content. Reads the body.

    JSON is compared by value, forms by their fields in any order, files by bytes, name and type. Whitespace, the order of
    JSON members and the boundary of a form do not matter. Files are read block by block. Raises what the view's parsers raise.
    """
    parts = [
        request.method,
        django_request(request).path_info,
        _fields(django_request(request).GET),
        request.content_type.partition(";")[0].strip().lower(),
        _content(request.data),
    ]
    return sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).digest()


def _content(data: Any) -> Any:
    return _fields(data) if isinstance(data, QueryDict) else data


def _fields(form: QueryDict) -> dict[str, list[Any]]:
    return {name: [_value(value) for value in values] for name, values in form.lists()}


def _value(value: Any) -> Any:
    if not isinstance(value, UploadedFile):
        return value
    digest = sha256()
    for block in value.chunks():
        digest.update(block)
    value.seek(0)
    return {"name": value.name, "type": value.content_type, "sha256": digest.hexdigest()}
