"""Django's error handlers, and the pages about problem types."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from apps.practices.errors.handler import logger, respond
from apps.practices.errors.problems import (
    CsrfFailed,
    InternalError,
    Malformed,
    NotFound,
    PermissionDenied,
    Problem,
    problem_types,
)
from apps.practices.errors.responses import prefers_html, problem_response, type_url

_PAGE_SECONDS = 3600


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the problem response for ``handler400``: suspicious, malformed or too large requests, and unknown hosts."""
    return respond(request, exception or Malformed())


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the problem response for ``handler403``."""
    return respond(request, exception or PermissionDenied())


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the problem response for ``handler404``, also for a path without a route."""
    return respond(request, exception or NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the problem response for ``handler500``: an exception in a middleware, which is being handled at this point."""
    return respond(request, sys.exc_info()[1] or InternalError())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the problem response for ``CSRF_FAILURE_VIEW``. Only the log gets the reason, which would help an attacker."""
    logger.warning(
        "request_refused", extra={"path": request.path, "method": request.method, "reason": f"CSRF: {reason}"}
    )
    return problem_response(request, CsrfFailed())


@require_safe
def problem_index(request: HttpRequest) -> HttpResponse:
    types = [_facts(cls) for cls in problem_types().values()]
    return _page(request, {"problems": types}, template="errors/types.html")


@require_safe
def problem_type(request: HttpRequest, slug: str) -> HttpResponse:
    cls = problem_types().get(slug)
    if cls is None:
        raise Http404
    return _page(request, _facts(cls), template="errors/type.html")


@require_safe
def page_style(_request: HttpRequest) -> HttpResponse:
    """Return the style sheet of the error pages, which therefore need neither inline styles nor collected static files."""
    return HttpResponse(
        _style(), content_type="text/css; charset=utf-8", headers={"Cache-Control": f"public, max-age={_PAGE_SECONDS}"}
    )


@cache
def _style() -> bytes:
    return Path(__file__).with_name("page.css").read_bytes()


def _facts(cls: type[Problem]) -> dict[str, Any]:
    return {"type": type_url(cls.type), "title": cls.title, "status": cls.status, "explanation": cls.explanation}


def _page(request: HttpRequest, facts: dict[str, Any], *, template: str) -> HttpResponse:
    headers = {"Cache-Control": f"public, max-age={_PAGE_SECONDS}", "Vary": "Accept"}
    if prefers_html(request):
        return HttpResponse(render_to_string(template, {**facts, "site": settings.SITE_NAME}), headers=headers)
    return JsonResponse(facts, headers=headers)
