"""The bounds of requests, checked before a view runs, and of the reading of their bodies."""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, HttpResponseBase

from apps.practices.errors import BodyTooLarge, Malformed, Problem, UnsupportedMediaType, problem_response
from apps.practices.mechanisms.facts import facts_of
from apps.practices.validation.bodies import Body, client_set, is_chunked
from apps.practices.validation.bounds import body_bound

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
LENGTH = re.compile("[0-9]{1,18}")


class BodyMiddleware:
    """Limits the size and time of reading a body, and reads what is left of it before the response is sent.

    A chunked body is counted while its view reads it, after limits and authentication. The rest is read because the client may
    lose the response if the server closes a connection that still receives data (RFC 9112, section 9.6).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        client_set(request.META, bucket=facts_of(request).bucket)
        body = _body(request)
        response = self.get_response(request)
        if body is not None:
            body.drain()
        return response


class RequestBoundsMiddleware:
    """Refuses requests before any view: 400 for a malformed URL, 413 for a large body, 415 for a body without a type.

    The view of the route sets the maximum size of a body (``bounds.Bounds``).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        problem = url_problem(request) or body_problem(request)
        return problem_response(request, problem) if problem else self.get_response(request)


def _body(request: HttpRequest) -> Body | None:
    """Return the request's body; None if it has none, or a Content-Length that is not a number."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if is_chunked(request) or (LENGTH.fullmatch(length) and int(length)):
        return Body(request, bound=body_bound(request))
    return None


def url_problem(request: HttpRequest) -> Problem | None:
    """Return the problem of a path or query string with a NUL, or of a query string that is not UTF-8; else None.

    A path that is not UTF-8 has no route and gets a 404, since Django leaves its bytes percent-encoded.
    """
    if "\x00" in request.path_info:
        return Malformed("The path contains a NUL character.")
    query = request.META.get("QUERY_STRING", "")
    if "%" not in query and query.isascii():
        return None
    decoded = unquote_to_bytes(query.encode("latin-1"))
    if b"\x00" in decoded:
        return Malformed("The query string contains a NUL character.")
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return Malformed("The query string is not valid UTF-8.")
    return None


def body_problem(request: HttpRequest) -> Problem | None:
    """Return the problem of a body that is too large, compressed or without a type, by the headers; else None."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not LENGTH.fullmatch(length):
        return Malformed("Content-Length is not a number.")
    if not int(length) and not is_chunked(request):
        return None
    bound = body_bound(request)
    if int(length) > bound:
        return BodyTooLarge(f"The maximum body size here is {bound} bytes.")
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        return UnsupportedMediaType(
            "Send the body uncompressed. Content-Encoding is not supported.", headers={"Accept-Encoding": "identity"}
        )
    kind = request.META.get("CONTENT_TYPE", "")
    if request.method in BODY_METHODS and not kind:
        return UnsupportedMediaType("The Content-Type header is missing.")
    if "*" in kind.partition(";")[0]:  # Django REST framework would accept it as any type that the view accepts
        return UnsupportedMediaType("Content-Type is a range of media types. Send the media type of the body.")
    return None
