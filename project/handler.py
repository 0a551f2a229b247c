"""The handler of the service's requests."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from django.urls import ResolverMatch

from apps.practices.mechanisms.facts import facts_determine, route_match
from project.replay import Headers, Replays


class Application(WSGIHandler):
    """Django's handler: it replays some responses (decision 0053), and takes the route that the middlewares have resolved."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = Replays()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        facts = facts_determine(environ)
        shape = self.replays.shape_of(environ, facts)
        if shape is None:
            return super().__call__(environ, start_response)
        body = self.replays.replayed(shape, environ, start_response, facts)
        if body is not None:
            return body
        sent: list[Any] = []

        def start(status: str, headers: Headers, *failure: Any) -> Any:
            sent[:] = status, [*headers]
            return start_response(status, headers, *failure)

        response = super().__call__(environ, start)
        self.replays.keep(shape, facts, *sent)
        return response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Return the route that a middleware has resolved already (docs/private-api.md)."""
        if hasattr(request, "urlconf"):  # a middleware has chosen other routes
            return super().resolve_request(request)
        request.resolver_match = route_match(request)
        return request.resolver_match
