"""Endpoints of remarks: a list nested below a note, and a write that refers to a note."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.jobs.idempotency import idempotent
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.validation.views import StrictView
from tests.sample.filters import REMARKS
from tests.sample.selectors import note_read, remark_list, remark_read
from tests.sample.serializers import SampleRemarkSerializer, SampleRemarkWriteSerializer
from tests.sample.services import remark_create


class NoteRemarks(StrictView):
    """List the remarks about a note."""

    permission_classes = [IsAuthenticated]
    query_parsers = {"GET": REMARKS.parse}

    @extend_schema(
        operation_id="sample_remarks_list",
        parameters=REMARKS.parameters(),
        responses={200: page_of(SampleRemarkSerializer), **problems(400, 401, 404, 429)},
    )
    def get(self, request: Request, note_id: UUID) -> Response:
        note = note_read(note_id=note_id, reader=request.user)
        return Response(REMARKS.read(self.query, remark_list(note=note, reader=request.user)).body())


class RemarkList(StrictView):
    """Create a remark."""

    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="sample_remarks_create",
        request=SampleRemarkWriteSerializer,
        responses={201: SampleRemarkSerializer, **problems(400, 401, 409, 413, 415, 429)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        remark = remark_create(owner=request.user, **self.body(SampleRemarkWriteSerializer))
        headers = {"Location": f"{request.path}/{remark.pk}"}
        return Response(SampleRemarkSerializer(remark).data, status=status.HTTP_201_CREATED, headers=headers)


class RemarkDetail(StrictView):
    """Read a remark."""

    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="sample_remarks_read", responses={200: SampleRemarkSerializer, **problems(400, 401, 404, 429)}
    )
    def get(self, request: Request, remark_id: UUID) -> Response:
        return Response(SampleRemarkSerializer(remark_read(remark_id=remark_id, reader=request.user)).data)
