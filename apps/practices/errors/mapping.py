"""The mapping of exceptions to problems. An exception that is not registered is unexpected: a 500 without details.

Clients see the text of a library's exception only where it was written for them (DRF's). Others may name models,
constraints or hosts.
"""

from collections.abc import Callable
from functools import singledispatch
from types import TracebackType
from typing import Any

import kombu.exceptions
import redis.exceptions
from django.core import exceptions as django
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django_redis.exceptions import ConnectionInterrupted
from rest_framework import exceptions as drf

from apps.practices.errors import problems
from apps.practices.errors.pointers import field_errors, model_errors
from apps.practices.errors.problems import Problem, problem_for_status


@singledispatch
def problem_from(_exception: BaseException) -> Problem | None:
    """Return the problem that an exception becomes; None for an unexpected one.

    Other packages register their exceptions, as `database.failures` does.
    """
    return None


# Exceptions whose class determines the problem. Their texts are for the log.
_BY_CLASS: dict[type[Exception], type[Problem]] = {
    Http404: problems.NotFound,
    django.PermissionDenied: problems.PermissionDenied,
    django.BadRequest: problems.Malformed,
    django.SuspiciousOperation: problems.Malformed,
    django.DisallowedHost: problems.BadHost,
    django.RequestDataTooBig: problems.BodyTooLarge,
    django.TooManyFieldsSent: problems.TooManyFields,
    django.TooManyFilesSent: problems.TooManyFields,
    MultiPartParserError: problems.Malformed,
    UnreadablePostError: problems.Malformed,
    drf.NotAuthenticated: problems.NotAuthenticated,
    drf.MethodNotAllowed: problems.MethodNotAllowed,
    drf.NotAcceptable: problems.NotAcceptable,
    drf.UnsupportedMediaType: problems.UnsupportedMediaType,
    redis.exceptions.ConnectionError: problems.Unavailable,
    redis.exceptions.TimeoutError: problems.Unavailable,
    redis.exceptions.OutOfMemoryError: problems.Unavailable,
    redis.exceptions.ReadOnlyError: problems.Unavailable,
    redis.exceptions.ClusterDownError: problems.Unavailable,
    kombu.exceptions.OperationalError: problems.Unavailable,
}


def _always(problem: type[Problem]) -> Callable[[BaseException], Problem]:
    return lambda _exception: problem()


for _class, _problem in _BY_CLASS.items():
    problem_from.register(_class, _always(_problem))


@problem_from.register
def _(exception: Problem) -> Problem:
    return exception


@problem_from.register
def _(exception: django.ValidationError) -> Problem:
    return problems.ValidationProblem(errors=model_errors(exception))


@problem_from.register
def _(exception: RecursionError) -> Problem | None:
    """Return Malformed where parsing deeply nested input exhausted the stack; any other recursion is a bug."""
    if _was_reading_input(exception.__traceback__):
        return problems.Malformed("The body is nested too deeply.")
    return None


def _was_reading_input(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        module, function = frame.f_globals.get("__name__"), frame.f_code.co_name
        if module == "json.decoder" or (module == "rest_framework.request" and function == "_parse"):
            return True
        traceback = traceback.tb_next
    return False


# Exceptions of Django REST framework.


@problem_from.register
def _(exception: drf.APIException) -> Problem:
    return problem_for_status(exception.status_code)


@problem_from.register
def _(exception: drf.ValidationError) -> Problem:
    return problems.ValidationProblem(errors=field_errors(exception.detail))


@problem_from.register
def _(exception: drf.ParseError) -> Problem:
    return problems.Malformed(_text(exception))


@problem_from.register
def _(exception: drf.AuthenticationFailed) -> Problem:
    return problems.AuthenticationFailed(_text(exception))


@problem_from.register
def _(exception: drf.PermissionDenied) -> Problem:
    return problems.PermissionDenied(_text(exception))


@problem_from.register
def _(exception: drf.NotFound) -> Problem:
    return problems.NotFound(_text(exception) if exception.detail != drf.NotFound.default_detail else None)


@problem_from.register
def _(exception: drf.Throttled) -> Problem:
    return problems.TooManyRequests(retry_after=getattr(exception, "wait", None))


def _text(exception: drf.APIException) -> str | None:
    """Return the text of an exception that was written for clients; some libraries wrap it (``{"detail": …}``)."""
    detail: Any = exception.detail
    if isinstance(detail, dict):
        detail = detail.get("detail", "")
    return str(detail) if isinstance(detail, str) and detail else None


@problem_from.register
def _(exception: ConnectionInterrupted) -> Problem | None:
    """Return the problem of the exception of redis-py that django-redis has wrapped."""
    return problem_from(exception.__cause__) if exception.__cause__ else problems.Unavailable()
