"""Heavy work on articles over HTTP: each answers 202 with a job to follow."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.articles.imports import COLUMNS
from apps.jobs.imports import ImportForm, upload_checked
from apps.jobs.services import job_submit
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.errors.schema import problems
from apps.practices.validation.parsers import BoundedMultiPartParser
from apps.practices.validation.query import query_parameters
from apps.practices.validation.serializers import StrictSerializer


class ArticleImports(APIView):
    permission_classes = [IsAuthenticated]
    parser_classes = [BoundedMultiPartParser]

    @extend_schema(
        operation_id="articles_import",
        summary="Import articles from a file",
        request={"multipart/form-data": ImportForm},
        responses={202: ACCEPTED, **problems(400, 401, 413, 415)},
    )
    def post(self, request: Request) -> Response:
        """Columns: title, body, tags (separated by semicolons), published_at and slug (else made from the title).

        The job's result says how many rows were created, updated, skipped and rejected, and shows the first rejected ones;
        `errors_url` has all of them, one JSON object a line.
        """
        query_parameters(request, {})
        form = ImportForm(data=request.data)
        form.is_valid(raise_exception=True)
        parameters = dict(form.validated_data)
        upload = upload_checked(file=parameters.pop("file"), format=parameters["format"], columns=COLUMNS)
        return submitted(job_submit(kind="articles.import", owner=request.user, parameters=parameters, upload=upload))


class ArticleReports(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="articles_report",
        summary="Compute statistics over all public articles",
        request=None,
        responses={202: ACCEPTED, **problems(400, 401, 415)},
    )
    def post(self, request: Request) -> Response:
        """Words, tags and months of every public article."""
        query_parameters(request, {})
        StrictSerializer(data=request.data or {}).is_valid(raise_exception=True)
        return submitted(job_submit(kind="articles.report", owner=request.user, parameters={}))
