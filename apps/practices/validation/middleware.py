"""The bounds of a request, checked before anything reads it."""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, HttpResponseBase

from apps.practices.errors import BodyTooLarge, Malformed, Problem, UnsupportedMediaType, problem_response
from apps.practices.validation.bodies import Body, client_named, is_chunked
from apps.practices.validation.bounds import body_bound

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
LENGTH = re.compile("[0-9]{1,18}")


class BodyMiddleware:
    """Bounds the reading of a body in size and time, and reads what is left of it before the response leaves.

    A body without Content-Length (chunked) is counted as its view reads it, so limits and authentication come first. A server
    that closes the connection while its client still sends loses its own response (RFC 9112, section 9.6).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        client_named(request)
        body = _body(request)
        response = self.get_response(request)
        if body is not None:
            body.drain()
        return response


class RequestBoundsMiddleware:
    """Refuses what no view should see: 400 for a doubtful URL, 413 for a large body, 415 for one of no stated type.

    The bound of a body is its view's (``bounds.Bounds``).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        problem = url_problem(request) or body_problem(request)
        return problem_response(request, problem) if problem else self.get_response(request)


def _body(request: HttpRequest) -> Body | None:
    """Take the request's body in hand; None when it has none, or a length that is no number."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if is_chunked(request) or (LENGTH.fullmatch(length) and int(length)):
        return Body(request, bound=body_bound(request))
    return None


def url_problem(request: HttpRequest) -> Problem | None:
    """Give the problem of a path or query that holds a NUL, or of a query that is not UTF-8; None when there is none.

    What is not UTF-8 in a path Django leaves percent-encoded: such a path has no route, and is a 404.
    """
    if "\x00" in request.path_info:
        return Malformed("The path holds a NUL character.")
    query = request.META.get("QUERY_STRING", "")
    if "%" not in query and query.isascii():
        return None
    decoded = unquote_to_bytes(query.encode("latin-1"))
    if b"\x00" in decoded:
        return Malformed("The query holds a NUL character.")
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return Malformed("The query is not UTF-8.")
    return None


def body_problem(request: HttpRequest) -> Problem | None:
    """Give the problem of a body that says it is too large, or encoded, or not what it is; None when there is none."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not LENGTH.fullmatch(length):
        return Malformed("Content-Length is not a number.")
    if not int(length) and not is_chunked(request):
        return None
    bound = body_bound(request)
    if int(length) > bound:
        return BodyTooLarge(f"At most {bound} bytes are accepted here.")
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        return UnsupportedMediaType("A body must not be compressed.", headers={"Accept-Encoding": "identity"})
    kind = request.META.get("CONTENT_TYPE", "")
    if request.method in BODY_METHODS and not kind:
        return UnsupportedMediaType("Say what the body is: Content-Type is missing.")
    if "*" in kind.partition(";")[0]:  # Django REST framework would take it for whatever the view reads
        return UnsupportedMediaType("Content-Type names a range of types. Say which one the body is.")
    return None
