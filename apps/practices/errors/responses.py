"""Problem responses: ``application/problem+json``, or a page for browsers."""

import json
import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.encoding import escape_uri_path

from apps.practices.errors.problems import Problem
from apps.practices.mechanisms.facts import facts_of

CONTENT_TYPE = "application/problem+json"
API_PREFIX = "/api/"
_ENCODED_TWICE = re.compile("%25([89A-F][0-9A-F])")


def is_api(request: HttpRequest) -> bool:
    """Return whether the path belongs to the API, where every error is JSON regardless of Accept."""
    return request.path_info.startswith(API_PREFIX)


def prefers_html(request: HttpRequest) -> bool:
    """Return whether the client prefers HTML to JSON (RFC 9110, section 12.5.1). A tie or no preference means JSON."""
    return _quality(request, "text/html") > max(_quality(request, CONTENT_TYPE), _quality(request, "application/json"))


def _quality(request: HttpRequest, media_type: str) -> float:
    accepted = request.accepted_type(media_type)
    return accepted.quality if accepted else 0.0


def type_url(slug: str) -> str:
    return f"{settings.PUBLIC_URL}/problems/{slug}"


def problem_members(problem: Problem, *, instance: str, **more: Any) -> dict[str, Any]:
    """Return the members of a problem document (RFC 9457); ``errors`` only if there are any."""
    document: dict[str, Any] = {
        "type": type_url(problem.type),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        **more,
    }
    if problem.errors:
        # A pointer may repeat a name in the body. Responses contain no NUL.
        document["errors"] = [
            {**error._asdict(), "pointer": error.pointer.replace("\0", "\N{REPLACEMENT CHARACTER}")}
            for error in problem.errors
        ]
    return document


def problem_document(request: HttpRequest, problem: Problem) -> dict[str, Any]:
    """Return the problem document for a request; ``instance`` is the path without the query string."""
    return problem_members(problem, instance=_path_sent(request), request_id=facts_of(request).request_id)


def _path_sent(request: HttpRequest) -> str:
    """Return the request's path as it was sent, percent-encoded.

    Django has percent-encoded the bytes that are not UTF-8 (`repercent_broken_unicode`). They are not encoded twice.
    """
    return _ENCODED_TWICE.sub(r"%\1", escape_uri_path(request.path))


class ProblemResponse(HttpResponse):
    """A response whose body is a problem document, or its page."""

    def __init__(self, *args: Any, problem_type: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.problem_type = problem_type


def problem_type_of(response: HttpResponseBase) -> str | None:
    """Return the problem type of a response; None if it is not a problem."""
    return response.problem_type if isinstance(response, ProblemResponse) else None


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return the response to an error: JSON, or outside the API a page for clients that prefer HTML.

    Caches never store errors, because each contains the id of its request.
    """
    document = problem_document(request, problem)
    as_page = not is_api(request) and prefers_html(request)
    if as_page:
        content = render_to_string("errors/problem.html", {"problem": document, "site": settings.SITE_NAME}).encode()
    else:
        # ASCII only, so that a lone surrogate in a path can be encoded too.
        content = json.dumps(document, separators=(",", ":")).encode()
    response = ProblemResponse(
        b"" if request.method == "HEAD" else content,
        problem_type=problem.type,
        status=problem.status,
        content_type="text/html; charset=utf-8" if as_page else CONTENT_TYPE,
        headers={"Content-Length": str(len(content)), "Cache-Control": "no-store", **problem.headers},
    )
    if problem.retry_after is not None:
        response.headers.setdefault("Retry-After", str(max(1, problem.retry_after)))
    for name, path in problem.cookies_forgotten.items():
        response.delete_cookie(name, path=path, samesite="Lax")
    if not is_api(request):
        patch_vary_headers(response, ["Accept"])
    # Django would log the same request a second time (django.utils.log.log_response).
    response._has_been_logged = True  # type: ignore[attr-defined]  # read by Django
    return response
