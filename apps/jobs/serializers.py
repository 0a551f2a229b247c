"""A job on the wire."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from rest_framework import serializers

from apps.jobs.models import JobState
from apps.jobs.selectors import files_expired
from apps.practices.errors.schema import ProblemSerializer


class JobProgressSerializer(serializers.Serializer[Any]):
    """How far a job is."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text="Null: not known.")
    percent = serializers.IntegerField(allow_null=True, min_value=0, max_value=100)
    message = serializers.CharField(allow_blank=True)


class JobProblemSerializer(ProblemSerializer):
    """Why a job has failed: a problem document (RFC 9457) of the job's own."""

    instance = serializers.CharField(help_text="The path of the job.")
    request_id = serializers.CharField(
        allow_null=True,
        help_text="Names the request that submitted the job, in the lines of its work too. Null for a schedule's.",
    )


class JobSerializer(serializers.Serializer[Any]):
    """A job as its owner reads it. It describes the answer in the schema; ``job_body`` makes it."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=JobState.choices)
    progress = JobProgressSerializer()
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    result = serializers.JSONField(allow_null=True, help_text="What the kind says, once it has succeeded.")
    result_url = serializers.CharField(
        allow_null=True, help_text="Where the whole result is, once there is one and while its file is kept."
    )
    problem = JobProblemSerializer(allow_null=True, help_text="Why it failed, once it has.")


def job_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make the answer's shape out of the row's public columns."""
    return {
        "id": row["id"],
        "kind": row["kind"],
        "state": row["state"],
        "progress": progress(row),
        "attempts": row["attempts"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "result": result_body(row),
        "result_url": result_url(row),
        "problem": job_problem(row),
    }


def job_problem(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored problem with the job's address, and with the id of the request that submitted the job, as in the log."""
    problem: dict[str, Any] | None = row["problem"]
    if problem is None:
        return None
    return {
        **problem,
        "instance": reverse("jobs:detail", kwargs={"id": row["id"]}),
        "request_id": row["request_id"] or None,
    }


def progress(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a job is. Only what has succeeded is at 100 percent, and then all of it is done.

    A function reports at most twice a second, so the last report says less than the end; and what it counted at first may
    have grown since.
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
    """Return the result. An import's gets ``errors_url``, the address of its file of rejected rows."""
    result = row["result"]
    if isinstance(result, dict) and "errors_listed" in result:
        return {**result, "errors_url": result_url(row)}
    return result


def result_url(row: Mapping[str, Any]) -> str | None:
    has_file = bool(row["result_type"])
    has_result = row["state"] == JobState.SUCCEEDED and (has_file or row["result"] is not None)
    if has_file and files_expired(row["finished_at"]):
        return None
    return reverse("jobs:result", kwargs={"id": row["id"]}) if has_result else None
