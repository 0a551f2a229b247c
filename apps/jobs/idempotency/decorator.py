"""The decorator of views: reads the header, and answers from what is stored or by the view."""

from __future__ import annotations

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
from apps.jobs.idempotency.schema import KEY_LENGTH, described
from apps.jobs.services.idempotency import Answer, Asked, answer_once
from apps.practices.caching.conditional import etag_add
from apps.practices.errors import FieldError, NotAuthenticated, ValidationProblem
from apps.practices.mechanisms.requests import django_request

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_META = "HTTP_IDEMPOTENCY_KEY"
_KEY = re.compile(rf"[ -~]{{1,{KEY_LENGTH}}}")
_ROUTE_LENGTH = 200

View = Callable[..., HttpResponseBase]


def idempotent(*, require: Callable[[Any], object] | None = None) -> Callable[[View], View]:
    """This function will return a decorator that carries a request with an Idempotency-Key out once.

    By the time that the view is called, authentication, permission classes and limits have had their say, so they have it
    on a repetition, too. ``require`` is for what else a caller must be allowed: called with the user before the key is
    looked at, it raises to refuse, whether there is a key or not. The view runs in a transaction, with the body read before.
    """

    def decorate(post: View) -> View:
        @wraps(post)
        def handle(view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if require is not None:
                require(request.user)
            key = django_request(request).META.get(_META)
            if key is None:
                return post(view, request, *args, **kwargs)
            return _answered(view, request, key, partial(post, view, request, *args, **kwargs))

        return described(handle, post)

    return decorate


def _answered(view: APIView, request: Request, key: str, call: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    if not _KEY.fullmatch(key):
        detail = f"{HEADER} takes 1 to {KEY_LENGTH} printable ASCII characters."
        raise ValidationProblem(errors=[FieldError(f"{HEADER}:", "invalid", detail)])
    owner_id, match = request.user.pk, django_request(request).resolver_match
    if owner_id is None:
        raise NotAuthenticated()
    route = "" if match is None else str(match.route)
    asked = Asked(
        owner_id=owner_id,
        method=str(request.method),
        route=route[:_ROUTE_LENGTH],  # two that are cut alike differ in their path
        key=key,
        fingerprint=fingerprint(request),
    )
    answer, is_repeated = answer_once(asked=asked, carry_out=lambda: _carried_out(view, request, call()))
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["Content-Type"]  # Django's own, for an answer that has none
    for name, value in answer.headers.items():
        response.headers[name] = value
    if is_repeated:
        response.headers[REPLAYED] = "true"
    return response


def _carried_out(view: APIView, request: Request, response: HttpResponseBase) -> Answer:
    """Give a view's answer as it is sent, with the headers that the view itself gives it; the layers around add theirs anew.

    Cookies are not kept: they are a sign-in's, and no such request creates one.
    """
    if isinstance(response, Response):
        # As DRF does after the view; done here, since the bytes belong into the transaction.
        response.accepted_renderer = request.accepted_renderer
        response.accepted_media_type = request.accepted_media_type
        response.renderer_context = view.get_renderer_context()  # type: ignore[attr-defined]  # the stubs leave it out
        response.render()
    if not isinstance(response, HttpResponse):
        raise TypeError("a streamed answer cannot be repeated")
    etag_add(django_request(request), response)
    return Answer(status=response.status_code, headers=dict(response.headers), body=response.content)
