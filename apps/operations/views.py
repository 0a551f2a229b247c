"""Operational endpoints: liveness, readiness, metrics."""

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from apps.operations.health import readiness
from apps.practices.errors import NotFound, Unavailable, problem_response
from apps.practices.observability.exposition import exposition

ALIVE = b'{"status": "alive"}'


class NotReady(Unavailable, type="not-ready", title="Not ready"):
    explanation = "This instance does not accept requests at the moment. Try again through the load balancer."
    retry_after = 1


_REASONS = {
    "draining": "This instance is stopping.",
    "unmigrated": "The database lacks migrations that this release needs. Run its migrations.",
}


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200: the process works. Touches neither the database nor Redis."""
    return HttpResponse(ALIVE, content_type="application/json", headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 (``ready``, ``degraded``), or 503 with a problem document (stopping, migrations missing)."""
    current = readiness()
    if not current.is_ready:
        return problem_response(request, NotReady(_REASONS[current.state]))
    return JsonResponse({"status": current.state, "checks": current.checks}, headers={"Cache-Control": "no-store"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the fleet's metrics to a request with ``METRICS_TOKEN`` as bearer token, and 404 to any other."""
    expected = settings.OBSERVABILITY_METRICS_TOKEN
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # Compared in constant time, before anything else is checked.
    if not expected or not hmac.compare_digest(token.encode(), expected.encode()) or scheme.lower() != "bearer":
        raise NotFound
    text, media_type = exposition(request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(text, content_type=media_type, headers={"Cache-Control": "no-store", "Vary": "Accept"})
