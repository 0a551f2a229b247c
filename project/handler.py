"""The handler of the service's requests."""

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from django.urls import ResolverMatch

from apps.practices.mechanisms.facts import route_match


class Application(WSGIHandler):
    """Django's handler, with the route that the middlewares have resolved already (docs/private-api.md)."""

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        if hasattr(request, "urlconf"):  # a middleware has chosen other routes
            return super().resolve_request(request)
        request.resolver_match = route_match(request)
        return request.resolver_match
