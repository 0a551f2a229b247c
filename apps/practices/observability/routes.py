"""The template of the route that answers a path: what logs and metrics are grouped by."""

from functools import lru_cache

from django.http import HttpRequest
from django.urls import Resolver404, get_urlconf, resolve
from django.utils.functional import SimpleLazyObject

UNMATCHED = "(unmatched)"


def route_of(request: HttpRequest) -> str:
    """Return the route's template, as ``/api/v1/sample/notes/<uuid:id>``, or ``(unmatched)`` for paths that lead nowhere.

    A middleware may answer before Django resolves the path; it is then resolved here, remembered per path.
    """
    match = request.resolver_match
    if match is not None:
        return "/" + match.route
    return _resolved(request.path_info, get_urlconf())


@lru_cache(maxsize=2048)
def _resolved(path: str, urlconf: str | None) -> str:
    try:
        return "/" + resolve(path, urlconf).route
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
