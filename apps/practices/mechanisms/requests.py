"""The Django request within a request of Django REST framework, its user, and responses rendered before a view returns them."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject
from rest_framework.request import Request
from rest_framework.response import Response

if TYPE_CHECKING:  # DRF's views load the classes of authentication, which use this module
    from rest_framework.views import APIView


def django_request(request: Request) -> HttpRequest:
    """Return the Django request that ``request`` wraps. REST framework has no public name for it (docs/private-api.md)."""
    return request._request


def user_id_of(request: HttpRequest) -> str | None:
    """Return the id of the authenticated user, without loading the user."""
    user = request.__dict__.get("user")
    if user is None or isinstance(user, SimpleLazyObject):
        # Django keeps its lazy user under this name once it has been loaded.
        user = request.__dict__.get("_cached_user")
    key = getattr(user, "pk", None)
    return None if key is None else str(key)


def response_render(view: "APIView", request: Request, response: HttpResponseBase) -> None:
    """Render a response of a view's handler now, as DRF would after ``finalize_response``."""
    if isinstance(response, Response):
        response.accepted_renderer = request.accepted_renderer
        response.accepted_media_type = request.accepted_media_type
        response.renderer_context = view.get_renderer_context()  # type: ignore[attr-defined]  # missing in the stubs
        response.render()
