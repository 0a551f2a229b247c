"""Personal data of jobs: those that a user has submitted. Columns for administrators (errors, workers) are left out."""

from apps.jobs.models import IdempotencyKey, Job
from apps.practices.privacy.personal import PersonalData

PersonalData(
    name="jobs",
    model=Job,
    user="owner",
    fields=(
        "id",
        "kind",
        "parameters",
        "state",
        "attempts",
        "created_at",
        "started_at",
        "finished_at",
        "result",
        "problem",
    ),
)

PersonalData(
    name="idempotency-keys",
    model=IdempotencyKey,
    user="owner",
    withheld="Deleted within a day. What the requests created is listed separately.",
)
