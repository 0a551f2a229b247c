"""Problem documents in OpenAPI: one component, and the responses that refer to it."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

from apps.practices.errors.problems import Problem, problem_for_status
from apps.practices.errors.responses import CONTENT_TYPE

# Errors of every operation, from the layers around the views.
ALWAYS = (400, 403, 406, 429, 500, 503, 504)
# Errors of every operation whose method may have a body.
WITH_BODY = (408, 413, 415)
BODY_METHODS = ("post", "put", "patch")


class FieldErrorSerializer(serializers.Serializer):
    """One error in the input."""

    pointer = serializers.CharField(
        help_text="JSON pointer into the body (RFC 6901), ?name for a query parameter, or Name: for a header."
    )
    code = serializers.CharField(help_text="A stable, machine-readable code.")
    detail = serializers.CharField(help_text="A human-readable message.")


class ProblemSerializer(serializers.Serializer):
    """A problem document (RFC 9457)."""

    type = serializers.URLField(help_text="The problem type: the URL of the page that describes it.")
    title = serializers.CharField(help_text="The name of the problem type.")
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField(help_text="What went wrong with this request.")
    instance = serializers.CharField(help_text="The path of the request.")
    request_id = serializers.CharField(
        allow_null=True, help_text="Identifies the request in the service's logs. Also in the X-Request-ID header."
    )
    # DRF removes declared fields from the class, so its own property of this name remains.
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # see above


def problems(*named: int | type[Problem]) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the error part of ``@extend_schema(responses=…)`` for statuses and problem classes, one entry for each status.

    The errors of every operation (bad request, limits, failures) are always included.
    """
    titles: dict[int, list[str]] = {}
    for one in (*named, *ALWAYS):
        problem = problem_for_status(one) if isinstance(one, int) else one
        found = titles.setdefault(problem.status, [])
        if problem.title not in found:
            found.append(problem.title)
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description="; ".join(found))
        for status, found in sorted(titles.items())
    }


def describe_everywhere(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the errors of the layers around the views to every operation (postprocessing hook of drf-spectacular)."""
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in result.get("paths", {}).values():
        for method, operation in path.items():
            if not isinstance(operation, dict) or "responses" not in operation:
                continue
            # An invalid token is refused (401) even where no token is required.
            signed_in = (401,) if any(operation.get("security", ())) else ()
            with_body = WITH_BODY if method in BODY_METHODS or "requestBody" in operation else ()
            for status in (*ALWAYS, *signed_in, *with_body):
                response = {"description": HTTPStatus(status).phrase, "content": schema}
                operation["responses"].setdefault(str(status), response)
    return result
