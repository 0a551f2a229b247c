"""Idempotency-Key: a POST that creates something can be sent again without creating it twice.

Put the decorator below ``@extend_schema``, on the ``post`` of a view that requires a signed-in user::

    @idempotent()
    def post(self, request: Request) -> Response: ...
"""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial, wraps
from hashlib import sha256
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from apps.jobs.services.idempotency import (
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    KeyedRequest,
    StoredResponse,
    respond_once,
)
from apps.practices.caching.conditional import etag_add
from apps.practices.caching.groups import invalidation_add
from apps.practices.caching.tags import changes_in_transaction
from apps.practices.errors import FieldError, NotAuthenticated, Problem, ValidationProblem
from apps.practices.errors.responses import CONTENT_TYPE
from apps.practices.mechanisms.requests import django_request, response_render

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_LENGTH = 255
_KEY = re.compile(rf"[ -~]{{1,{KEY_LENGTH}}}")
_ROUTE_LENGTH = 200

# In the OpenAPI document.
_PARAMETER = {
    "in": "header",
    "name": HEADER,
    "description": (
        "A new random value for each new request, such as a UUID. A request sent again with the same key takes no effect: its "
        "first response is sent again."
    ),
    # HTTP strips spaces around a header's value.
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
_REPLAYED = {
    "description": "Present if this is the stored response to an earlier request with the same Idempotency-Key.",
    "schema": {"type": "string", "const": "true"},
}
_RETRY_AFTER = {
    "description": "Seconds to wait before sending the request again, if one with the same Idempotency-Key is in progress.",
    "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
}

View = Callable[..., HttpResponseBase]


def idempotent(*, require: Callable[[Any], object] | None = None) -> Callable[[View], View]:
    """Return a decorator under which a request with an Idempotency-Key takes effect once.

    Authentication, permission classes and limits run before the view, also for a repeated request. ``require`` is for any
    other check of the caller: it gets the user before the key is read, with or without a key, and raises to refuse. The view
    runs in a transaction, after the body was read.
    """

    def decorate(post: View) -> View:
        @wraps(post)
        def handle(view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if require is not None:
                require(request.user)
            key = django_request(request).META.get("HTTP_IDEMPOTENCY_KEY")
            if key is None:
                return post(view, request, *args, **kwargs)
            return _respond(view, request, key, partial(post, view, request, *args, **kwargs))

        return _schema_add_key(handle, post)

    return decorate


def _respond(view: APIView, request: Request, key: str, post: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    if not _KEY.fullmatch(key):
        detail = f"{HEADER} must be 1 to {KEY_LENGTH} printable ASCII characters."
        raise ValidationProblem(errors=[FieldError(f"{HEADER}:", "invalid", detail)])
    owner_id, match = request.user.pk, django_request(request).resolver_match
    if owner_id is None:
        raise NotAuthenticated()
    route = "" if match is None else str(match.route)
    keyed = KeyedRequest(
        owner_id=owner_id,
        method=str(request.method),
        route=route[:_ROUTE_LENGTH],  # the fingerprint holds the whole path
        key=key,
        fingerprint=fingerprint(request),
    )
    stored, is_replayed = respond_once(request=keyed, handle=lambda: _to_store(view, request, post()))
    response = HttpResponse(stored.body, status=stored.status)
    del response.headers["Content-Type"]  # set by Django, even on a response without content
    for name, value in stored.headers.items():
        response.headers[name] = value
    if is_replayed:
        response.headers[REPLAYED] = "true"
    return response


def _to_store(view: APIView, request: Request, response: HttpResponseBase) -> StoredResponse:
    """Return the view's response as it is sent, with the view's own headers: middlewares add theirs each time.

    Cookies are not stored: they belong to signing in, which takes no key.
    """
    response_render(view, request, response)  # the transaction stores the bytes
    if not isinstance(response, HttpResponse):
        raise TypeError("A streamed response cannot be stored under an Idempotency-Key.")
    etag_add(django_request(request), response)
    invalidation_add(django_request(request), response, changes_in_transaction())  # which a repetition would not change
    return StoredResponse(status=response.status_code, headers=dict(response.headers), body=response.content)


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


def _schema_add_key(wrapper: Any, post: Any) -> Any:
    """Return ``wrapper``, which wraps ``post``, with the header added to its OpenAPI operation."""
    base = getattr(post, "kwargs", {}).get("schema", api_settings.DEFAULT_SCHEMA_CLASS)
    wrapper.kwargs = {"schema": type("IdempotentSchema", (_Idempotent, base), {})}  # drf-spectacular reads it here
    return wrapper


class _Idempotent:
    """Add the header and its responses to drf-spectacular's operation."""

    def get_operation(self, *args: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **options)  # type: ignore[misc]  # of the base
        if operation is None:
            return None
        operation["parameters"] = [*operation.get("parameters", ()), deepcopy(_PARAMETER)]
        responses = operation["responses"]
        for status, response in responses.items():
            if status.startswith("2"):
                response.setdefault("headers", {})[REPLAYED] = deepcopy(_REPLAYED)
        in_use = _add_problem(responses, IdempotencyKeyInUse)
        in_use.setdefault("headers", {})["Retry-After"] = deepcopy(_RETRY_AFTER)
        _add_problem(responses, IdempotencyKeyReused)
        return operation


def _add_problem(responses: dict[str, Any], problem: type[Problem]) -> dict[str, Any]:
    """Add a problem to the responses, beside others with the same status."""
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = responses.setdefault(str(problem.status), {"description": "", "content": content})
    response["description"] = "; ".join(filter(None, (response["description"], problem.title)))
    return response
