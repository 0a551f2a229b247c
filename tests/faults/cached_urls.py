"""Cached notes that expire within the test, and a slow view that counts its runs in PostgreSQL."""

from uuid import UUID

from django.db import connection
from django.urls import path
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.practices.caching import CachedResponse
from apps.practices.validation.views import StrictView
from tests.sample.models import Note
from tests.sample.urls import handler400, handler403, handler404, handler500
from tests.sample.urls import urlpatterns as _urlpatterns
from tests.sample.views import NoteDetail

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]
TTL, STALE = 5, 1  # seconds


class PublicNote(NoteDetail):
    """A note whose entry expires soon."""

    cached = CachedResponse(ttl=TTL, stale=STALE, tags=("note:{note_id}",))


class SharedNote(StrictView):
    """The same for signed-in readers, who may be given what a replica has."""

    permission_classes = [IsAuthenticated]
    cached = CachedResponse(audience="permitted", ttl=TTL, stale=STALE, tags=("note:{note_id}",))

    def get(self, request: Request, note_id: UUID) -> Response:
        return Response({"title": Note.objects.values_list("title", flat=True).get(pk=note_id)})


class Counted(StrictView):
    """Take a second, and count that in the sequence ``runs``."""

    permission_classes = [AllowAny]
    cached = CachedResponse(ttl=30, tags=("counted",))

    def get(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nextval('runs'), pg_sleep(1)")
            return Response({"run": cursor.fetchone()[0]})


urlpatterns = [
    path("api/v1/cached/public/<uuid:note_id>", PublicNote.as_view()),
    path("api/v1/cached/shared/<uuid:note_id>", SharedNote.as_view()),
    path("api/v1/cached/counted", Counted.as_view()),
    *_urlpatterns,
]
