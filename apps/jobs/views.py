"""Jobs over HTTP: to their owner, and of some kinds to staff; to everybody else they do not exist."""

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
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.jobs.filters import JOBS
from apps.jobs.idempotency import idempotent
from apps.jobs.models import UNFINISHED, Job
from apps.jobs.selectors import JobUnfinished, ResultExpired, job_finished, job_list, job_read, job_row
from apps.jobs.serializers import JobSerializer, job_body
from apps.jobs.services import job_cancel, job_retry
from apps.jobs.services.downloads import Download, DownloadsBusy
from apps.jobs.services.submission import JobNotDiscarded, TooManyJobs
from apps.practices.database.schema import page_of
from apps.practices.errors.schema import problems
from apps.practices.headers.schema import HEADERS
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.views import StrictView

POLL_SECONDS = 1
UNCHANGED = OpenApiResponse(description="If-None-Match names what would be answered.")
LOOK_AGAIN = OpenApiParameter(
    "Retry-After",
    HEADERS["Retry-After"]["schema"],
    OpenApiParameter.HEADER,
    response=[200, 304],
    description="Seconds to wait before looking again, while the job waits or runs.",
)
SAVED_AS = OpenApiParameter(
    "Content-Disposition",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description="What to call the file, where the result is one.",
)
ACCEPTED = OpenApiResponse(
    JobSerializer, description="Accepted: Location is where the job can be followed, Retry-After says when to look."
)


def submitted(job: Job) -> Response:
    """Answer a submission: 202 with the job, where to follow it and when to look."""
    location = reverse("jobs:detail", kwargs={"id": job.pk})
    headers = {"Location": location, "Retry-After": str(POLL_SECONDS)}
    return Response(job_body(job_row(job)), status=status.HTTP_202_ACCEPTED, headers=headers)


def owner_id(request: Request) -> UUID:
    """Give the id of the signed-in user."""
    return cast(UUID, request.user.pk)


class JobList(StrictView):
    permission_classes = [IsAuthenticated]
    query_parsers = {"GET": JOBS.parse}

    @extend_schema(
        operation_id="jobs_list",
        summary="List one's jobs, newest first",
        parameters=JOBS.parameters(),
        responses={200: page_of(JobSerializer), **problems(400, 401)},
    )
    def get(self, request: Request) -> Response:
        """Jobs of the signed-in user."""
        jobs = job_list(owner_id=owner_id(request), **self.query.filters)
        return Response(JOBS.read(self.query, jobs).body())


class JobDetail(StrictView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="jobs_read",
        summary="Follow a job",
        parameters=[LOOK_AGAIN],
        responses={200: JobSerializer, 304: UNCHANGED, **problems(401, 404)},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """One job. While it waits or runs, Retry-After says when to look again; its ETag changes with what is shown.

        Some kinds are open to staff who may view jobs, too.
        """
        return _body(job_read(job_id=id, reader=request.user))

    @extend_schema(
        operation_id="jobs_cancel",
        summary="Cancel a job",
        parameters=[LOOK_AGAIN],
        responses={200: JobSerializer, **problems(401, 404)},
    )
    def delete(self, request: Request, id: UUID) -> Response:
        """A job that waits is cancelled at once, one that runs at its next checkpoint; one that has ended stays as it is."""
        return _body(job_cancel(job_id=id, owner_id=owner_id(request)))


class JobRetry(StrictView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="jobs_retry",
        summary="Try a failed job again",
        request=None,
        responses={202: ACCEPTED, **problems(401, 404, JobNotDiscarded, TooManyJobs)},
    )
    @idempotent()
    def post(self, request: Request, id: UUID) -> Response:
        """It goes on at its last checkpoint, with all its attempts."""
        self.body(StrictSerializer)
        return submitted(job_retry(job_id=id, owner_id=owner_id(request)))


class AsItIs(DefaultContentNegotiation):
    """Leaves the type of an answer to what is answered, whatever the client would rather have (RFC 9110, 12.5.1)."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class JobResult(StrictView):
    permission_classes = [IsAuthenticated]
    content_negotiation_class = AsItIs  # the job says what its result is: text/csv is no renderer's

    @extend_schema(
        operation_id="jobs_result",
        summary="Read a job's result",
        parameters=[SAVED_AS],
        responses={
            (200, "application/json"): OpenApiTypes.ANY,
            (200, "application/x-ndjson"): OpenApiTypes.BINARY,
            (200, "text/csv"): OpenApiTypes.BINARY,
            **problems(401, 404, JobUnfinished, ResultExpired, DownloadsBusy),
        },
    )
    def get(self, request: Request, id: UUID) -> HttpResponseBase:
        """The result file as a download, or the result itself where a kind has no file."""
        job = job_finished(job_id=id, reader=request.user)
        if not job.result_type:
            return Response(job.result)
        download = Download(job_id=job.pk, reader_id=owner_id(request))
        headers = {
            "Content-Disposition": content_disposition_header(True, job.result_name) or "attachment",
            "Content-Length": str(download.size),
        }
        return StreamingHttpResponse(download, content_type=job.result_type, headers=headers)


def _body(job: Job) -> Response:
    headers: dict[str, Any] = {}
    if job.state in UNFINISHED:
        headers["Retry-After"] = str(POLL_SECONDS)
    return Response(job_body(job_row(job)), headers=headers)
