"""Problem types: exceptions with an HTTP status and the parts of a problem document (RFC 9457).

Every error response of the application is one of these. A feature defines its own next to the function that raises it::

    class TokenReused(Problem, status=401, type="token-reused", title="Refresh token used twice"):
        explanation = "A refresh token works once, and this one has been used before. Its session has been ended."
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import ClassVar, NamedTuple

ERRORS_SHOWN = 50  # in one response, which must not grow with the request
POINTER_LENGTH = 200  # characters; a name in the body may be as long as the body
DETAIL_LENGTH = 500


class FieldError(NamedTuple):
    """One thing that is wrong with the input.

    ``pointer``: a JSON pointer into the body (RFC 6901: ``/tags/0``; the empty string is the whole document),
    ``?name`` for a query parameter, or ``Name:`` for a header. ``code``: a stable word for programs. ``detail``: a
    sentence for people.
    """

    pointer: str
    code: str
    detail: str


# Every class that sets a type, in the order in which their modules were imported.
DECLARED: list[type["Problem"]] = []


class Problem(Exception):
    """An error with an HTTP status and a documented type. A subclass inherits the status unless its statement gives one.

    ``type`` is a slug, described on the page ``/problems/<type>``. ``title`` is the same for every problem of a type.
    ``detail`` describes this occurrence; clients see it, so it must not contain anything internal. ``explanation`` is the
    text of the type's page. The first ERRORS_SHOWN of ``errors`` are kept, and ``detail`` mentions that there are more.
    ``retry_after`` is in seconds; a subclass may set a default. ``headers`` are added to the response, which also deletes
    the cookies in ``cookies_forgotten`` (name to path).
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    explanation: ClassVar[str] = "Something went wrong on our side. If it happens again, report the request_id."
    retry_after: int | None = None

    def __init_subclass__(
        cls, *, status: int | None = None, type: str | None = None, title: str | None = None, **more: object
    ) -> None:
        super().__init_subclass__(**more)
        if vars(cls).keys() & {"status", "type", "title"}:
            raise TypeError(f"{cls.__name__}: give status, type and title in the class statement, not as attributes.")
        cls.status = cls.status if status is None else status
        if type is not None:
            cls.type, cls.title = type, title or ""
            DECLARED.append(cls)

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Iterable[FieldError] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.explanation
        self.errors, more = _shown(errors) if errors else ((), False)
        if more:
            self.detail += f" Only the first {ERRORS_SHOWN} errors are listed; there are more."
        self.headers = dict(headers or {})
        self.cookies_forgotten: Mapping[str, str] = {}
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)


def _shown(errors: Iterable[FieldError]) -> tuple[tuple[FieldError, ...], bool]:
    """Return the errors to list, with long texts cut, and whether there are more."""
    found = list(islice(errors, ERRORS_SHOWN + 1))
    return tuple(map(error_cut, found[:ERRORS_SHOWN])), len(found) > ERRORS_SHOWN


def error_cut(error: FieldError) -> FieldError:
    """Return the error with its texts cut to a maximum length, since they may repeat parts of the request."""
    return FieldError(_cut(error.pointer, POINTER_LENGTH), error.code, _cut(error.detail, DETAIL_LENGTH))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def problem_types() -> dict[str, "type[Problem]"]:
    """Return all declared types by slug, sorted."""
    return {cls.type: cls for cls in sorted(DECLARED, key=lambda cls: cls.type)}


class InternalError(Problem, status=500, type="internal-error", title="Internal error"):
    explanation = "Something went wrong on our side. If it happens again, report the request_id."


class Malformed(Problem, status=400, type="malformed", title="Malformed request"):
    explanation = "The request could not be parsed. Its syntax, encoding or structure does not match its headers."


class ValidationProblem(Problem, status=400, type="validation", title="Invalid input"):
    explanation = (
        "Some values in the request are invalid. Each entry in errors points to one of them: "
        "a JSON pointer into the body, ?name for a query parameter, or Name: for a header."
    )


class BadHost(Problem, status=400, type="bad-host", title="Unknown host"):
    explanation = "The Host header is not one of this service's host names."


class TooManyFields(Problem, status=400, type="too-many-fields", title="Too many fields"):
    explanation = "The form, query string or upload has more fields or files than allowed."


class NotAuthenticated(Problem, status=401, type="not-authenticated", title="Authentication required"):
    explanation = "This endpoint requires authentication. Sign in, or send an access token."


class AuthenticationFailed(Problem, status=401, type="authentication-failed", title="Authentication failed"):
    explanation = "The credentials are wrong, expired or revoked. Refresh the access token or sign in again."


class PermissionDenied(Problem, status=403, type="permission-denied", title="Permission denied"):
    explanation = "Your account does not have permission to do this."


class CsrfFailed(Problem, status=403, type="csrf-failed", title="CSRF check failed"):
    explanation = (
        "The request has no valid CSRF token, so it may not come from one of our pages. Reload the page and try again."
    )


class HttpsRequired(Problem, status=403, type="https-required", title="HTTPS required"):
    explanation = (
        "The request was sent over plain HTTP, where anyone on the network can read it. It was neither executed nor "
        "redirected. Use https, and replace any token or password that the request contained."
    )


class NotFound(Problem, status=404, type="not-found", title="Not found"):
    explanation = "Nothing exists at this URL, or your account cannot see it."


class MethodNotAllowed(Problem, status=405, type="method-not-allowed", title="Method not allowed"):
    explanation = "This endpoint does not support the method. The Allow header lists the methods that it supports."


class NotAcceptable(Problem, status=406, type="not-acceptable", title="Not acceptable"):
    explanation = "This endpoint cannot respond in any of the media types in the Accept header."


class Conflict(Problem, status=409, type="conflict", title="Conflict"):
    explanation = (
        "The request conflicts with stored data: the object already exists, is in use, or has changed since you "
        "read it."
    )


class Gone(Problem, status=410, type="gone", title="Gone"):
    explanation = "What was at this URL has been removed permanently."


class PreconditionFailed(Problem, status=412, type="precondition-failed", title="Precondition failed"):
    explanation = "If-Match names a version that is not the current one. Read the object again before you change it."


class BodyTooLarge(Problem, status=413, type="body-too-large", title="Body too large"):
    explanation = "The request body is larger than this endpoint accepts."


class UnsupportedMediaType(Problem, status=415, type="unsupported-media-type", title="Unsupported media type"):
    explanation = "This endpoint does not accept a body with this Content-Type or Content-Encoding."


class Unprocessable(Problem, status=422, type="unprocessable", title="Cannot be processed"):
    explanation = "The request is well formed, but it cannot be carried out in the current state."


class TooManyRequests(Problem, status=429, type="too-many-requests", title="Too many requests"):
    explanation = "You have reached a rate limit. Wait for the number of seconds in Retry-After, then try again."
    retry_after = 1


class Unavailable(Problem, status=503, type="unavailable", title="Temporarily unavailable"):
    explanation = (
        "The service is overloaded, or a part of it is down. Wait for the number of seconds in Retry-After, then try "
        "again."
    )
    retry_after = 5


class TimedOut(Problem, status=504, type="timed-out", title="Timed out"):
    explanation = (
        "A part of the service did not respond in time. Wait for the number of seconds in Retry-After, then try again."
    )
    retry_after = 5


# The type of each status: of several, the one declared first above.
_BY_STATUS: dict[int, type[Problem]] = {cls.status: cls for cls in reversed(DECLARED)}


def problem_for_status(status: int, *, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for a status code.

    A status without a type of its own gets the type of 400 or 500 (RFC 9110, section 15), and keeps its number.
    """
    cls = _BY_STATUS.get(status)
    if cls is None:
        problem = (Malformed if status < InternalError.status else InternalError)(headers=headers)
        problem.status = status  # type: ignore[misc]  # the only problem whose status is not that of its type
        return problem
    return cls(headers=headers)
