"""The view decorator: reads the header, and answers from the stored response or by calling the view."""

import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.jobs.idempotency.fingerprint import fingerprint
from apps.jobs.idempotency.schema import KEY_LENGTH, schema_add_key
from apps.jobs.services.idempotency import KeyedRequest, StoredResponse, respond_once
from apps.practices.caching.conditional import etag_add
from apps.practices.caching.groups import invalidation_add
from apps.practices.caching.tags import changes_in_transaction
from apps.practices.errors import FieldError, NotAuthenticated, ValidationProblem
from apps.practices.mechanisms.requests import django_request

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(rf"[ -~]{{1,{KEY_LENGTH}}}")
_ROUTE_LENGTH = 200

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

        return schema_add_key(handle, post)

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
    if isinstance(response, Response):
        # As in DRF's finalize_response. Rendered here, because the transaction stores the bytes.
        response.accepted_renderer = request.accepted_renderer
        response.accepted_media_type = request.accepted_media_type
        response.renderer_context = view.get_renderer_context()  # type: ignore[attr-defined]  # missing in the stubs
        response.render()
    if not isinstance(response, HttpResponse):
        raise TypeError("A streamed response cannot be stored under an Idempotency-Key.")
    etag_add(django_request(request), response)
    invalidation_add(django_request(request), response, changes_in_transaction())  # which a repetition would not change
    return StoredResponse(status=response.status_code, headers=dict(response.headers), body=response.content)
