"""The problem document in OpenAPI: one component, and the pieces that say which errors an endpoint can answer."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

from apps.practices.errors.problems import Problem, problem_for_status
from apps.practices.errors.responses import CONTENT_TYPE

# Any operation may meet these: they come from the layers around every view.
ALWAYS = (400, 403, 406, 429, 500, 503, 504)
# And any whose method has a body, whether it wants one or not.
WITH_BODY = (408, 413, 415)
BODY_METHODS = ("post", "put", "patch")


class FieldErrorSerializer(serializers.Serializer):
    """One thing that is wrong with the input."""

    pointer = serializers.CharField(
        help_text="JSON pointer into the body (RFC 6901), ?name for a query parameter, or Name: for a header."
    )
    code = serializers.CharField(help_text="A stable word for programs.")
    detail = serializers.CharField(help_text="A sentence for people.")


class ProblemSerializer(serializers.Serializer):
    """A problem document (RFC 9457)."""

    type = serializers.URLField(help_text="Which kind of problem: the address of the page that explains it.")
    title = serializers.CharField(help_text="The kind of problem, in words. Never varies for a type.")
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField(help_text="What happened this time.")
    instance = serializers.CharField(help_text="The path of the request.")
    request_id = serializers.CharField(
        allow_null=True, help_text="Names the request in the service's logs. Also in X-Request-ID."
    )
    # DRF takes declared fields out of the class body, so its own property of this name stays.
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # as said above


def problems(*answers: int | type[Problem]) -> dict[tuple[int, str], OpenApiResponse]:
    """The error part of ``@extend_schema(responses=…)``, by status or problem class; one status is one entry.

    What any operation can answer (bad request, limits, failures) is always included.
    """
    titles: dict[int, list[str]] = {}
    for named in (*answers, *ALWAYS):
        problem = problem_for_status(named) if isinstance(named, int) else named
        found = titles.setdefault(problem.status, [])
        if problem.title not in found:
            found.append(problem.title)
    return {(status, CONTENT_TYPE): _response("; ".join(found)) for status, found in sorted(titles.items())}


def _response(description: str) -> OpenApiResponse:
    return OpenApiResponse(response=ProblemSerializer, description=description)


def describe_everywhere(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: every operation names what the layers around it can answer."""
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in result.get("paths", {}).values():
        for method, operation in path.items():
            if not isinstance(operation, dict) or "responses" not in operation:
                continue
            # A token that is refused is refused where none is needed, too.
            signed_in = (401,) if any(operation.get("security", ())) else ()
            for status in (
                *ALWAYS,
                *signed_in,
                *(WITH_BODY if method in BODY_METHODS or "requestBody" in operation else ()),
            ):
                answer = {"description": HTTPStatus(status).phrase, "content": schema}
                operation["responses"].setdefault(str(status), answer)
    return result
