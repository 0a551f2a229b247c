"""Endpoints: each makes one domain call and translates the answer."""

import time
from uuid import UUID

from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.selectors.users import PEOPLE_TAG
from apps.jobs.idempotency import idempotent
from apps.jobs.permissions import MaySubmit
from apps.jobs.services import job_submit
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.caching import CachedResponse, if_match_version, with_version
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.validation.bounds import Bounds
from apps.practices.validation.fields import BoundedFloatField, CanonicalUUIDField
from apps.practices.validation.query import query_parameters
from tests.sample.filters import NOTES
from tests.sample.models import Note
from tests.sample.selectors import effect_count, note_list, note_read
from tests.sample.serializers import SampleNoteSerializer, SampleNoteWriteSerializer
from tests.sample.services import note_create, note_delete, note_require_owner, note_update
from tests.sample.tasks import SampleCountSerializer


class NoteList(APIView):
    """Published notes, and writing one."""

    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(
        ttl=30, stale=30, tags=("notes", PEOPLE_TAG), parameters=("limit", "cursor", "fields", "ordering", "title")
    )

    @extend_schema(
        operation_id="sample_notes_list",
        parameters=NOTES.parameters(),
        responses={200: page_of(SampleNoteSerializer), **problems(400, 429)},
    )
    def get(self, request: Request) -> Response:
        query = NOTES.parse(request)
        return Response(NOTES.read(query, note_list(**query.filters)).body())

    @extend_schema(
        operation_id="sample_notes_create",
        request=SampleNoteWriteSerializer,
        responses={201: SampleNoteSerializer, **problems(400, 401, 413, 415, 429)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        serializer = SampleNoteWriteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        note = note_create(owner=request.user, **serializer.validated_data)
        response = _answer(note, status.HTTP_201_CREATED)
        response.headers["Location"] = f"{request.path}/{note.pk}"
        return response


class NoteDetail(APIView):
    """One note."""

    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(ttl=30, stale=30, tags=("note:{note_id}", PEOPLE_TAG), parameters=())

    @extend_schema(operation_id="sample_notes_read", responses={200: SampleNoteSerializer, **problems(400, 404, 429)})
    def get(self, request: Request, note_id: UUID) -> Response:
        query_parameters(request, {})
        return _answer(note_read(note_id=note_id, reader=request.user))

    @extend_schema(
        operation_id="sample_notes_replace",
        request=SampleNoteWriteSerializer,
        responses={200: SampleNoteSerializer, **problems(400, 401, 403, 404, 412, 413, 415, 429)},
    )
    def put(self, request: Request, note_id: UUID) -> Response:
        return self._write(request, note_id, partial=False)

    @extend_schema(
        operation_id="sample_notes_update",
        request=SampleNoteWriteSerializer(partial=True),
        responses={200: SampleNoteSerializer, **problems(400, 401, 403, 404, 412, 413, 415, 429)},
    )
    def patch(self, request: Request, note_id: UUID) -> Response:
        return self._write(request, note_id, partial=True)

    @extend_schema(
        operation_id="sample_notes_delete", responses={204: None, **problems(400, 401, 403, 404, 409, 412, 429)}
    )
    def delete(self, request: Request, note_id: UUID) -> Response:
        query_parameters(request, {})
        note = note_read(note_id=note_id, reader=request.user)
        note_require_owner(note=note, actor=request.user)
        note_delete(note=note, actor=request.user, expected=if_match_version(request, current=note.version))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _write(self, request: Request, note_id: UUID, *, partial: bool) -> Response:
        query_parameters(request, {})
        note = note_read(note_id=note_id, reader=request.user)
        note_require_owner(note=note, actor=request.user)
        serializer = SampleNoteWriteSerializer(data=request.data, partial=partial)
        expected = if_match_version(request, current=note.version)
        serializer.is_valid(raise_exception=True)
        note_update(note=note, actor=request.user, expected=expected, **serializer.validated_data)
        return _answer(note)


class NoteSlow(APIView):
    """A request that takes its time in PostgreSQL."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="sample_notes_slow", exclude=True)
    def get(self, request: Request) -> Response:
        seconds = _seconds(request)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
        return Response({"seconds": seconds})


class NoteBusy(APIView):
    """A request that takes its time without PostgreSQL."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="sample_notes_busy", exclude=True)
    def get(self, request: Request) -> Response:
        seconds = _seconds(request)
        time.sleep(seconds)
        return Response({"seconds": seconds})


class NoteBroken(APIView):
    """A request that meets a mistake of ours, whose text nobody outside may read."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="sample_notes_broken", exclude=True)
    def get(self, request: Request) -> Response:
        raise RuntimeError("sesame")


class NoteCounts(APIView):
    """Heavy work. Its bounds are its own: a body larger than others may be, though of few values and flat."""

    permission_classes = [IsAuthenticated]
    bounds = Bounds(body_bytes=4 * 1024 * 1024, json_depth=2, json_members=5)

    @extend_schema(
        operation_id="sample_notes_count",
        request=SampleCountSerializer,
        responses={202: ACCEPTED, **problems(400, 401, 413, 415)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        serializer = SampleCountSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return submitted(job_submit(kind="sample.count", owner=request.user, parameters=serializer.validated_data))


class NoteCensuses(APIView):
    """Heavy work that not everybody may have done."""

    permission_classes = [IsAuthenticated, MaySubmit]
    kind = "sample.census"

    @extend_schema(
        operation_id="sample_notes_census", request=None, responses={202: ACCEPTED, **problems(400, 401, 403, 415)}
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        query_parameters(request, {})
        return submitted(job_submit(kind=self.kind, owner=request.user, parameters={}))


class NoteEffects(APIView):
    """How often a job took effect."""

    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="sample_notes_effects", exclude=True)
    def get(self, request: Request) -> Response:
        job_id = query_parameters(request, {"job": CanonicalUUIDField()}).get("job")
        return Response({"effects": effect_count(job_id=job_id)})


def _seconds(request: Request) -> float:
    """Read ``?seconds=``, 0 to 30; 1 when it is not given."""
    bounds = BoundedFloatField(min_value=0, max_value=30)
    return float(query_parameters(request, {"seconds": bounds}).get("seconds", 1.0))


def _answer(note: Note, code: int = status.HTTP_200_OK) -> Response:
    return with_version(Response(SampleNoteSerializer(note).data, status=code), note.version)
