"""Liveness and readiness, answered before the Host check, the redirect to https and the limits."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.operations import views

_PROBES = {"/healthz": views.healthz, "/readyz": views.readyz}


class HealthMiddleware:
    """Answers ``/healthz`` and ``/readyz``, which load balancers request by IP address, over plain HTTP, every second."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = _PROBES.get(request.path_info)
        return self.get_response(request) if probe is None else probe(request)
