"""The machines' endpoints: liveness, readiness, metrics."""

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from apps.operations.health import readiness
from apps.practices.errors import NotFound, Unavailable, problem_response
from apps.practices.observability.exposition import exposition


class NotReady(Unavailable):
    status = 503
    type = "not-ready"
    title = "Not ready"
    explanation = "This instance takes no requests at the moment. Others may: ask again through the load balancer."
    retry_after = 1


_REASONS = {
    "draining": "This instance is stopping.",
    "unmigrated": "The database lacks migrations that this release needs.",
}


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200: the process works. Touches neither database nor Redis."""
    return JsonResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 (``ready``, ``degraded``) or 503 with a problem document (stopping, migrations missing)."""
    found = readiness()
    if not found.is_ready:
        return problem_response(request, NotReady(_REASONS[found.state]))
    return JsonResponse({"status": found.state, "checks": found.checks}, headers={"Cache-Control": "no-store"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer the fleet's metrics to who brings ``METRICS_TOKEN`` as bearer token; 404 to everybody else."""
    expected = settings.OBSERVABILITY_METRICS_TOKEN
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # Compared in constant time, and before anything else is looked at.
    if not expected or not hmac.compare_digest(token.encode(), expected.encode()) or scheme.lower() != "bearer":
        raise NotFound
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
