"""The sample's routes and a planted fault: who looks for faults must find it."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from apps.practices.errors.schema import problems
from apps.practices.validation.views import StrictView
from tests.sample.urls import handler400, handler403, handler404, handler500
from tests.sample.urls import urlpatterns as _urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


class Planted(StrictView):
    """A mistake of ours behind a documented operation."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="planted", summary="Fail", tags=["planted"], responses={204: None, **problems()})
    def get(self, request: Request) -> Response:
        raise RuntimeError("planted")


urlpatterns = [path("api/v1/planted", Planted.as_view()), *_urlpatterns]
