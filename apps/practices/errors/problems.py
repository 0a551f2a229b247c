"""Problem types: the exceptions that know their HTTP status and their problem document (RFC 9457).

Every error the application answers is one of these. A feature declares its own beside the function that raises it::

    class RefreshReused(Problem):
        status = 401
        type = "refresh-reused"
        title = "Refresh token used twice"
        explanation = "A refresh token works once. This one was used before: its sign-in has been ended."
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import ClassVar, NamedTuple

ERRORS_SHOWN = 50  # of one answer: it must not grow with the request
POINTER_LENGTH = 200  # characters; a name of the client's may be as long as its body
DETAIL_LENGTH = 500


class FieldError(NamedTuple):
    """One thing that is wrong with the input.

    ``pointer``: a JSON pointer into the body (RFC 6901: ``/tags/0``; the empty string is the whole document),
    ``?name`` for a query parameter, or ``Name:`` for a header. ``code``: one stable word for programs. ``detail``: one
    sentence for people.
    """

    pointer: str
    code: str
    detail: str


# Every class that names a type, in the order of their modules' import.
DECLARED: list[type["Problem"]] = []


class Problem(Exception):
    """An error with an HTTP status and a documented type.

    ``type`` is a slug: its page is ``/problems/<type>``. ``title`` never varies, ``detail`` tells this occurrence
    and is shown to the client, so it must hold nothing internal. ``explanation`` is the text of the type's page.
    Of ``errors``, the first ERRORS_SHOWN are kept, and ``detail`` says so when there are more.
    ``retry_after`` is in seconds; a subclass may set a default. ``headers`` are added to the answer, and the cookies of
    ``cookies_forgotten`` (name to path) are deleted with it.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    explanation: ClassVar[str] = "Something went wrong on our side. The request id lets us find out what."
    retry_after: int | None = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "type" in cls.__dict__:
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
        self.errors, more = _shown(errors)
        if more:
            self.detail += f" Only the first {ERRORS_SHOWN} errors are listed; there are more."
        self.headers = dict(headers or {})
        self.cookies_forgotten: Mapping[str, str] = {}
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)


def _shown(errors: Iterable[FieldError]) -> tuple[tuple[FieldError, ...], bool]:
    """Return the errors that an answer lists, long texts in them cut, and whether there are more."""
    found = list(islice(errors, ERRORS_SHOWN + 1))
    return tuple(map(error_cut, found[:ERRORS_SHOWN])), len(found) > ERRORS_SHOWN


def error_cut(error: FieldError) -> FieldError:
    """Return the error with texts of a bounded length, whatever of the client's they repeat."""
    return FieldError(_cut(error.pointer, POINTER_LENGTH), error.code, _cut(error.detail, DETAIL_LENGTH))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def problem_types() -> dict[str, "type[Problem]"]:
    """All declared types by slug, sorted."""
    return {cls.type: cls for cls in sorted(DECLARED, key=lambda cls: cls.type)}


class InternalError(Problem):
    status = 500
    type = "internal-error"
    title = "Internal error"
    explanation = "Something went wrong on our side. The request id lets us find out what."


class Malformed(Problem):
    status = 400
    type = "malformed"
    title = "Malformed request"
    explanation = "The request could not be read: its syntax, encoding or structure is not what its headers promise."


class ValidationProblem(Problem):
    status = 400
    type = "validation"
    title = "Invalid input"
    explanation = (
        "The request was read, but some of its values are not acceptable. Each entry of errors points at one of them: "
        "a JSON pointer into the body, ?name for a query parameter, or Name: for a header."
    )


class BadHost(Problem):
    status = 400
    type = "bad-host"
    title = "Unknown host"
    explanation = "The Host header does not name this service."


class TooManyFields(Problem):
    status = 400
    type = "too-many-fields"
    title = "Too many fields"
    explanation = "The form, the query or the upload has more fields or files than are accepted."


class NotAuthenticated(Problem):
    status = 401
    type = "not-authenticated"
    title = "Sign in first"
    explanation = "The request carries no credentials, and this address needs them."


class AuthenticationFailed(Problem):
    status = 401
    type = "authentication-failed"
    title = "Credentials refused"
    explanation = "The credentials are wrong, expired or revoked. Refresh the access token or sign in again."


class PermissionDenied(Problem):
    status = 403
    type = "permission-denied"
    title = "Not allowed"
    explanation = "The account that sent the request may not do this."


class CsrfFailed(Problem):
    status = 403
    type = "csrf-failed"
    title = "Cross-site request refused"
    explanation = (
        "The request does not carry the token that proves it comes from our own pages. Reload the page and try again."
    )


class HttpsRequired(Problem):
    status = 403
    type = "https-required"
    title = "HTTPS required"
    explanation = (
        "The request came over plain HTTP, readable by anybody on the way. It was not carried out, and not redirected, "
        "so that the mistake is noticed. Replace whatever token or password it carried."
    )


class NotFound(Problem):
    status = 404
    type = "not-found"
    title = "Not found"
    explanation = "There is nothing at this address, or nothing that the account may see."


class MethodNotAllowed(Problem):
    status = 405
    type = "method-not-allowed"
    title = "Method not allowed"
    explanation = "The address exists but does not take this method. The Allow header lists those it takes."


class NotAcceptable(Problem):
    status = 406
    type = "not-acceptable"
    title = "Not acceptable"
    explanation = "The address cannot answer in any of the media types that the Accept header names."


class Conflict(Problem):
    status = 409
    type = "conflict"
    title = "Conflict"
    explanation = (
        "The request contradicts what is stored: the thing exists already, is in use, or has changed meanwhile."
    )


class Gone(Problem):
    status = 410
    type = "gone"
    title = "Gone"
    explanation = "What was at this address has been removed for good."


class PreconditionFailed(Problem):
    status = 412
    type = "precondition-failed"
    title = "Changed meanwhile"
    explanation = "If-Match names a version that is no longer the current one. Read it again and decide anew."


class BodyTooLarge(Problem):
    status = 413
    type = "body-too-large"
    title = "Body too large"
    explanation = "The body is larger than this address accepts."


class UnsupportedMediaType(Problem):
    status = 415
    type = "unsupported-media-type"
    title = "Unsupported media type"
    explanation = "The address does not take a body of this Content-Type or Content-Encoding."


class Unprocessable(Problem):
    status = 422
    type = "unprocessable"
    title = "Cannot be processed"
    explanation = "The request is well formed, but what it asks for makes no sense in the present state."


class TooManyRequests(Problem):
    status = 429
    type = "too-many-requests"
    title = "Too many requests"
    explanation = "The limit for this client is used up. Retry-After says in how many seconds to try again."
    retry_after = 1


class Unavailable(Problem):
    status = 503
    type = "unavailable"
    title = "Temporarily unavailable"
    explanation = "Something that the service needs is away or overloaded. Try again after the time in Retry-After."
    retry_after = 5


class TimedOut(Problem):
    status = 504
    type = "timed-out"
    title = "Took too long"
    explanation = "Something that the service needs did not answer in time. Try again after the time in Retry-After."
    retry_after = 5


_BY_STATUS: dict[int, type[Problem]] = {
    cls.status: cls
    for cls in (
        Malformed,
        NotAuthenticated,
        PermissionDenied,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        Gone,
        PreconditionFailed,
        BodyTooLarge,
        UnsupportedMediaType,
        Unprocessable,
        TooManyRequests,
        InternalError,
        Unavailable,
        TimedOut,
    )
}


def problem_for_status(status: int, *, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem for an answer of which only the status is known.

    A status without a type of its own counts as 400 or 500 (RFC 9110, 15), its number kept.
    """
    cls = _BY_STATUS.get(status)
    if cls is None:
        problem = (Malformed if status < InternalError.status else InternalError)(headers=headers)
        problem.status = status  # type: ignore[misc]  # the one occurrence whose number is not its type's
        return problem
    return cls(headers=headers)
