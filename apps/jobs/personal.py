"""The jobs that a user has submitted. What only administrators read of them (errors, workers) is the service's."""

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
    withheld="Gone within a day; what each request made is listed as itself.",
)
