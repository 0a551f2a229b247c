"""The template of the route that answers a path: what logs and metrics are grouped by."""

from django.http import HttpRequest
from django.urls import Resolver404
from django.utils.functional import SimpleLazyObject

from apps.practices.mechanisms.facts import route_match

UNMATCHED = "(unmatched)"


def route_of(request: HttpRequest) -> str:
    """Return the route's template, as ``/api/v1/sample/notes/<uuid:id>``, or ``(unmatched)`` for a path without a route."""
    try:
        return "/" + route_match(request).route
    except Resolver404:
        return UNMATCHED


def user_id_of(request: HttpRequest) -> str | None:
    """Return the id of the user that the request was authorised as, without causing that to be looked up."""
    user = request.__dict__.get("user")
    if user is None or isinstance(user, SimpleLazyObject):
        # Django's lazy user: once somebody has asked, it is kept under this name.
        user = request.__dict__.get("_cached_user")
    key = getattr(user, "pk", None)
    return None if key is None else str(key)
