"""Errors: every one is an RFC 9457 problem document, with the request id and without internal details."""

from apps.practices.errors.problems import (
    BodyTooLarge,
    Conflict,
    FieldError,
    HttpsRequired,
    Malformed,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Problem,
    TimedOut,
    TooManyRequests,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
    ValidationProblem,
    problem_types,
)
from apps.practices.errors.responses import is_api, problem_response

__all__ = [
    "BodyTooLarge",
    "Conflict",
    "FieldError",
    "HttpsRequired",
    "Malformed",
    "NotAuthenticated",
    "NotFound",
    "PermissionDenied",
    "PreconditionFailed",
    "Problem",
    "TimedOut",
    "TooManyRequests",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMediaType",
    "ValidationProblem",
    "is_api",
    "problem_response",
    "problem_types",
]
