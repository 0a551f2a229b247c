"""The fields of a job in the API, and the filters of the list."""

from typing import Any

from rest_framework import serializers

from apps.jobs.models import Job, JobState
from apps.jobs.serializers import job_problem, progress, result_body, result_url
from apps.practices.database.lists import KeysetList, Projected
from apps.practices.validation.fields import PlainTextField

JOBS = KeysetList(
    model=Job,
    orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
    fields={
        "id": "id",
        "kind": "kind",
        "state": "state",
        "progress": Projected("state", "progress_done", "progress_total", "progress_message", shape=progress),
        "attempts": "attempts",
        "created_at": "created_at",
        "started_at": "started_at",
        "finished_at": "finished_at",
        "result": Projected("id", "state", "result", "result_type", "finished_at", shape=result_body),
        "result_url": Projected("id", "state", "result", "result_type", "finished_at", shape=result_url),
        "problem": Projected("id", "problem", "request_id", shape=job_problem),
    },
    scope=("owner",),
    filters={
        "state": serializers.ChoiceField(choices=JobState.choices, help_text="Return only jobs in this state."),
        "kind": PlainTextField(max_length=100, help_text="Return only jobs of this kind."),
    },
)


def job_body(job: Job) -> dict[str, Any]:
    """Return a job as the API shows it, with the fields of the list."""
    return {name: field.value(vars(job)) for name, field in JOBS.fields.items()}
