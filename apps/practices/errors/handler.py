"""The one way from an exception to a response, before, in and after a view. Failures are logged once, here.

The standard library's logger is used because Sentry's logging integration takes the traceback from there.
"""

import logging
from typing import Any

from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.db import DataError, IntegrityError
from django.http import HttpRequest, HttpResponse
from rest_framework.views import set_rollback

from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import InternalError, Problem
from apps.practices.errors.responses import problem_response
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.requests import django_request, user_id_of

logger = logging.getLogger("apps.practices.errors")


def respond(request: HttpRequest, exception: BaseException) -> HttpResponse:
    """Map ``exception`` to its problem, log it where needed, and return the response."""
    problem = problem_from(exception) or InternalError()
    report(request, exception=exception, problem=problem)
    return problem_response(request, problem)


def handle(exception: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return the problem response to any exception of an API view (DRF's setting ``EXCEPTION_HANDLER``).

    A 401 names the authentication scheme (RFC 9110, section 11.6.1), also where DRF would turn it into a 403.
    """
    request, view = context["request"], context["view"]
    set_rollback()
    response = respond(django_request(request), exception)
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", view.get_authenticate_header(request) or "Bearer")
    return response


def report(request: HttpRequest, *, exception: BaseException, problem: Problem) -> None:
    """Log a bug, an unavailable dependency, a suspicious request or a constraint violation; the access line covers the rest."""
    if problem is exception and problem.status != InternalError.status:
        return
    facts = {
        "method": request.method,
        "path": request.path,
        "request_id": facts_of(request).request_id,
        "user_id": user_id_of(request),
        "status": problem.status,
    }
    if problem.status == InternalError.status:
        logger.error("request_failed", exc_info=exception, extra=facts)
    elif problem.status > InternalError.status:
        logger.warning("dependency_unavailable", extra={**facts, "reason": _chain(exception)})
    elif isinstance(exception, IntegrityError | DataError):
        logger.warning("stored_value_refused", exc_info=exception, extra=facts)
    elif isinstance(exception, SuspiciousOperation | DisallowedHost):
        logger.warning("request_refused", extra={**facts, "reason": f"{type(exception).__name__}: {exception}"})


def _chain(exception: BaseException) -> str:
    """Return the names of the exception and of its causes, outermost first."""
    names: list[str] = []
    link: BaseException | None = exception
    while link is not None and len(names) < 5:
        names.append(f"{type(link).__name__}: {link}" if link.__cause__ is None else type(link).__name__)
        link = link.__cause__
    return " < ".join(names)
