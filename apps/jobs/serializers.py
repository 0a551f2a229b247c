"""Jobs in responses of the API."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from rest_framework import serializers

from apps.jobs.models import JobState
from apps.jobs.selectors import files_expired
from apps.practices.errors.schema import ProblemSerializer


class JobProgressSerializer(serializers.Serializer[Any]):
    """The progress of a job."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text="Null if it is not known.")
    percent = serializers.IntegerField(allow_null=True, min_value=0, max_value=100)
    message = serializers.CharField(allow_blank=True)


class JobProblemSerializer(ProblemSerializer):
    """The reason why a job was discarded, as a problem document (RFC 9457)."""

    instance = serializers.CharField(help_text="The path of the job.")
    request_id = serializers.CharField(
        allow_null=True,
        help_text="The id of the request that submitted the job, as in the service's log. Null for scheduled jobs.",
    )


class JobSerializer(serializers.Serializer[Any]):
    """A job as its owner reads it. For the schema; ``filters.JOBS`` builds the response."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=JobState.choices)
    progress = JobProgressSerializer()
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    result = serializers.JSONField(allow_null=True, help_text="The result of a succeeded job, as its kind defines it.")
    result_url = serializers.CharField(allow_null=True, help_text="The URL of the whole result, while it is available.")
    problem = JobProblemSerializer(allow_null=True, help_text="Why the job was discarded.")


def job_problem(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored problem with the job's path, and with the id of the request that submitted the job, as in the log."""
    problem: dict[str, Any] | None = row["problem"]
    if problem is None:
        return None
    return {
        **problem,
        "instance": reverse("jobs:detail", kwargs={"id": row["id"]}),
        "request_id": row["request_id"] or None,
    }


def progress(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the progress of a job. It is at 100 percent if and only if the job has succeeded, and then ``done`` is ``total``.

    The last report of a function may be older than its end, and its total may have grown since the first report.
    """
    done, total = row["progress_done"], row["progress_total"]
    if row["state"] == JobState.SUCCEEDED:
        done, percent = done if total is None else total, 100
    elif total is None:
        percent = None
    else:
        done = min(done, total)
        percent = min(99, done * 100 // total) if total else 0
    return {"done": done, "total": total, "percent": percent, "message": row["progress_message"]}


def result_body(row: Mapping[str, Any]) -> Any:
    """Return the result. An import's gets ``errors_url``, the URL of its file of rejected rows."""
    result = row["result"]
    if isinstance(result, dict) and "errors_listed" in result:
        return {**result, "errors_url": result_url(row)}
    return result


def result_url(row: Mapping[str, Any]) -> str | None:
    """Return the path of the job's result; None without a result, or after its file has expired."""
    has_file = bool(row["result_type"])
    has_result = row["state"] == JobState.SUCCEEDED and (has_file or row["result"] is not None)
    if has_file and files_expired(row["finished_at"]):
        return None
    return reverse("jobs:result", kwargs={"id": row["id"]}) if has_result else None
