"""The API of jobs. A job is visible to its owner, and for some kinds to staff; for all others it does not exist (404)."""

from typing import Any, cast
from uuid import UUID

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from apps.jobs.filters import JOBS, job_body
from apps.jobs.idempotency import idempotent
from apps.jobs.models import UNFINISHED, Job
from apps.jobs.selectors import JobUnfinished, ResultExpired, job_finished, job_list, job_read
from apps.jobs.serializers import JobSerializer
from apps.jobs.services import job_cancel, job_retry
from apps.jobs.services.downloads import Download, DownloadsBusy
from apps.jobs.services.submission import JobNotDiscarded, TooManyJobs
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.headers.schema import HEADERS
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.views import StrictView

POLL_SECONDS = 1
UNCHANGED = OpenApiResponse(description="The job has not changed since the ETag in If-None-Match.")
LOOK_AGAIN = OpenApiParameter(
    "Retry-After",
    HEADERS["Retry-After"]["schema"],
    OpenApiParameter.HEADER,
    response=[200, 304],
    description="Seconds to wait before the next request. Sent until the job is finished.",
)
SAVED_AS = OpenApiParameter(
    "Content-Disposition",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description="The name of the result file, if the result is a file.",
)
ACCEPTED = OpenApiResponse(
    JobSerializer,
    description="Accepted. Location is the URL of the job, Retry-After the seconds to wait before reading it.",
)


def submitted(job: Job) -> Response:
    """Return 202 with the job, its URL (Location) and when to read it (Retry-After)."""
    location = reverse("jobs:detail", kwargs={"id": job.pk})
    headers = {"Location": location, "Retry-After": str(POLL_SECONDS)}
    return Response(job_body(job), status=status.HTTP_202_ACCEPTED, headers=headers)


def owner_id(request: Request) -> UUID:
    return cast(UUID, request.user.pk)


class JobList(StrictView):
    query_parsers = {"GET": JOBS.parse}

    @extend_schema(
        operation_id="jobs_list",
        summary="List your jobs, newest first",
        parameters=JOBS.parameters(),
        responses={200: page_of(JobSerializer), **problems(400, 401)},
    )
    def get(self, request: Request) -> JSONResponse:
        """List the jobs of the signed-in user."""
        page = JOBS.read(self.query, job_list, owner_id=owner_id(request), **self.query.filters)
        return JSONResponse(page.body())


class JobDetail(StrictView):
    @extend_schema(
        operation_id="jobs_read",
        summary="Read a job",
        parameters=[LOOK_AGAIN],
        responses={200: JobSerializer, 304: UNCHANGED, **problems(401, 404)},
    )
    def get(self, request: Request, id: UUID) -> JSONResponse:
        """Read one job. Until it is finished, Retry-After says when to ask again. The ETag changes with the content.

        For some kinds, staff with the permission to view jobs may read the job too.
        """
        return _body(job_read(job_id=id, reader=request.user))

    @extend_schema(
        operation_id="jobs_cancel",
        summary="Cancel a job",
        parameters=[LOOK_AGAIN],
        responses={200: JobSerializer, **problems(401, 404)},
    )
    def delete(self, request: Request, id: UUID) -> JSONResponse:
        """Cancel a waiting job at once, a running job at its next checkpoint. A finished job stays as it is."""
        return _body(job_cancel(job_id=id, owner_id=owner_id(request)))


class JobRetry(StrictView):
    @extend_schema(
        operation_id="jobs_retry",
        summary="Retry a discarded job",
        request=None,
        responses={202: ACCEPTED, **problems(401, 404, JobNotDiscarded, TooManyJobs)},
    )
    @idempotent()
    def post(self, request: Request, id: UUID) -> Response:
        """Queue a discarded job again. It continues at its last checkpoint, with all its attempts."""
        self.body(StrictSerializer)
        return submitted(job_retry(job_id=id, owner_id=owner_id(request)))


class TypeOfResult(DefaultContentNegotiation):
    """Ignores Accept, as RFC 9110, 12.5.1 permits: the type of a result is that of the job."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class JobResult(StrictView):
    content_negotiation_class = TypeOfResult  # the job defines the type of its result; no renderer produces text/csv

    @extend_schema(
        operation_id="jobs_result",
        summary="Read the result of a job",
        parameters=[SAVED_AS],
        responses={
            (200, "application/json"): OpenApiTypes.ANY,
            (200, "application/x-ndjson"): OpenApiTypes.BINARY,
            (200, "text/csv"): OpenApiTypes.BINARY,
            **problems(401, 404, JobUnfinished, ResultExpired, DownloadsBusy),
        },
    )
    def get(self, request: Request, id: UUID) -> HttpResponseBase:
        """Download the result file, or read the result itself if the kind has no file."""
        job = job_finished(job_id=id, reader=request.user)
        if not job.result_type:
            return Response(job.result)
        download = Download(job_id=job.pk, reader_id=owner_id(request))
        headers = {
            "Content-Disposition": content_disposition_header(True, job.result_name) or "attachment",
            "Content-Length": str(download.size),
        }
        return StreamingHttpResponse(download, content_type=job.result_type, headers=headers)


def _body(job: Job) -> JSONResponse:
    headers: dict[str, Any] = {}
    if job.state in UNFINISHED:
        headers["Retry-After"] = str(POLL_SECONDS)
    return JSONResponse(job_body(job), headers=headers)
