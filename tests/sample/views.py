"""The endpoints of notes. Each makes one domain call and turns the result into a response."""

import time
from functools import partial
from uuid import UUID

from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.selectors.users import PEOPLE_TAG
from apps.jobs.idempotency import idempotent
from apps.jobs.permissions import MaySubmit
from apps.jobs.services import job_submit
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.caching import CachedResponse, if_match_version, with_version
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.validation.bounds import Bounds
from apps.practices.validation.fields import BoundedFloatField, CanonicalUUIDField, PlainTextField
from apps.practices.validation.query import query_parameters
from apps.practices.validation.views import StrictView
from tests.sample.filters import NOTES
from tests.sample.models import Note
from tests.sample.selectors import effect_count, note_list, note_read
from tests.sample.serializers import SampleNoteSerializer, SampleNoteWriteSerializer
from tests.sample.services import note_create, note_delete, note_require_owner, note_update
from tests.sample.tasks import SampleCountSerializer


def seconds_asked(request: Request) -> float:
    """Return ``?seconds=``, from 0 to 30 (default 1)."""
    bounds = BoundedFloatField(min_value=0, max_value=30)
    return float(query_parameters(request, {"seconds": bounds}).get("seconds", 1.0))


class NoteList(StrictView):
    """List published notes, and create one."""

    permission_classes = [IsAuthenticatedOrReadOnly]
    query_parsers = {"GET": NOTES.parse}
    cached = CachedResponse(
        ttl=30, stale=30, tags=("notes", PEOPLE_TAG), parameters=("limit", "cursor", "fields", "ordering", "title")
    )

    @extend_schema(
        operation_id="sample_notes_list",
        parameters=NOTES.parameters(),
        responses={200: page_of(SampleNoteSerializer), **problems(400, 429)},
    )
    def get(self, request: Request) -> JSONResponse:
        return JSONResponse(NOTES.read(self.query, note_list, **self.query.filters).body())

    @extend_schema(
        operation_id="sample_notes_create",
        request=SampleNoteWriteSerializer,
        responses={201: SampleNoteSerializer, **problems(400, 401, 413, 415, 429)},
    )
    @idempotent()
    def post(self, request: Request) -> JSONResponse:
        note = note_create(owner=request.user, **self.body(SampleNoteWriteSerializer))
        response = _response(note, status.HTTP_201_CREATED)
        response.headers["Location"] = f"{request.path}/{note.pk}"
        return response


class NoteDetail(StrictView):
    """Read, change and delete a note."""

    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(ttl=30, stale=30, tags=("note:{note_id}", PEOPLE_TAG), parameters=())

    @extend_schema(operation_id="sample_notes_read", responses={200: SampleNoteSerializer, **problems(400, 404, 429)})
    def get(self, request: Request, note_id: UUID) -> JSONResponse:
        return _response(note_read(note_id=note_id, reader=request.user))

    @extend_schema(
        operation_id="sample_notes_replace",
        request=SampleNoteWriteSerializer,
        responses={200: SampleNoteSerializer, **problems(400, 401, 403, 404, 412, 413, 415, 429)},
    )
    def put(self, request: Request, note_id: UUID) -> JSONResponse:
        return self._write(request, note_id, partial=False)

    @extend_schema(
        operation_id="sample_notes_update",
        request=SampleNoteWriteSerializer(partial=True),
        responses={200: SampleNoteSerializer, **problems(400, 401, 403, 404, 412, 413, 415, 429)},
    )
    def patch(self, request: Request, note_id: UUID) -> JSONResponse:
        return self._write(request, note_id, partial=True)

    @extend_schema(
        operation_id="sample_notes_delete", responses={204: None, **problems(400, 401, 403, 404, 409, 412, 429)}
    )
    def delete(self, request: Request, note_id: UUID) -> Response:
        note = note_read(note_id=note_id, reader=request.user)
        note_require_owner(note=note, actor=request.user)
        note_delete(note=note, actor=request.user, expected=if_match_version(request, current=note.version))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _write(self, request: Request, note_id: UUID, *, partial: bool) -> JSONResponse:
        note = note_read(note_id=note_id, reader=request.user)
        note_require_owner(note=note, actor=request.user)
        _ = request.data  # refuses an unreadable body (400, 413, 415) before If-Match is compared
        expected = if_match_version(request, current=note.version)
        changes = self.body(SampleNoteWriteSerializer, partial=partial)
        note_update(note=note, actor=request.user, expected=expected, **changes)
        return _response(note)


class NoteSlow(StrictView):
    """Wait for some seconds in PostgreSQL."""

    permission_classes = [AllowAny]
    query_parsers = {"GET": seconds_asked}

    @extend_schema(operation_id="sample_notes_slow", exclude=True)
    def get(self, request: Request) -> Response:
        seconds = self.query
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
        return Response({"seconds": seconds})


class NoteBusy(StrictView):
    """Wait for some seconds without PostgreSQL."""

    permission_classes = [AllowAny]
    query_parsers = {"GET": seconds_asked}

    @extend_schema(operation_id="sample_notes_busy", exclude=True)
    def get(self, request: Request) -> Response:
        seconds = self.query
        time.sleep(seconds)
        return Response({"seconds": seconds})


class NoteBroken(StrictView):
    """Raise an exception, whose text must not leave the service."""

    permission_classes = [AllowAny]
    query_parsers = {"GET": partial(query_parameters, allowed={"token": PlainTextField(max_length=100)})}

    @extend_schema(operation_id="sample_notes_broken", exclude=True)
    def get(self, request: Request) -> Response:
        raise RuntimeError("sesame")


class NoteCounts(StrictView):
    """Submit a job. The view sets its own bounds: a larger body than usual, but flat and with few values."""

    permission_classes = [IsAuthenticated]
    bounds = Bounds(body_bytes=4 * 1024 * 1024, json_depth=2, json_members=5)

    @extend_schema(
        operation_id="sample_notes_count",
        request=SampleCountSerializer,
        responses={202: ACCEPTED, **problems(400, 401, 413, 415)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        parameters = self.body(SampleCountSerializer)
        return submitted(job_submit(kind="sample.count", owner=request.user, parameters=parameters))


class NoteCensuses(StrictView):
    """Submit a job that needs a permission."""

    permission_classes = [IsAuthenticated, MaySubmit]
    kind = "sample.census"

    @extend_schema(
        operation_id="sample_notes_census", request=None, responses={202: ACCEPTED, **problems(400, 401, 403, 415)}
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        return submitted(job_submit(kind=self.kind, owner=request.user, parameters={}))


class NoteEffects(StrictView):
    """Return how often a job took effect."""

    permission_classes = [IsAuthenticated]
    query_parsers = {"GET": partial(query_parameters, allowed={"job": CanonicalUUIDField()})}

    @extend_schema(operation_id="sample_notes_effects", exclude=True)
    def get(self, request: Request) -> Response:
        return Response({"effects": effect_count(job_id=self.query.get("job"))})


def _response(note: Note, code: int = status.HTTP_200_OK) -> JSONResponse:
    return with_version(JSONResponse(SampleNoteSerializer(note).data, status=code), note.version)
