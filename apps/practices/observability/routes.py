"""The route and the session of a request, as logs and metrics show them."""

from django.http import HttpRequest

from apps.practices.mechanisms.facts import route_found

UNMATCHED = "(unmatched)"


def route_of(request: HttpRequest) -> str:
    """Return the route's template, as ``/api/v1/sample/notes/<uuid:id>``, or ``(unmatched)`` for a path without a route."""
    match = route_found(request)
    return UNMATCHED if match is None else f"/{match.route}"


def session_of(request: HttpRequest) -> str | None:
    """Return the id of the session that authenticated the request. It is no secret: only its tokens and cookies are."""
    found = getattr(request.__dict__.get("auth"), "session_id", None) or request.__dict__.get("page_session_id")
    return None if found is None else str(found)
