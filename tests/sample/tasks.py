"""Heavy work: counts for a while, and leaves exactly one effect."""

import time
from typing import Any

from apps.jobs.context import JobContext
from apps.jobs.kinds import job_kind
from apps.practices.validation.fields import BoundedFloatField
from apps.practices.validation.serializers import StrictSerializer
from tests.sample.models import Effect, Note

STEP = 20_000  # additions between two looks at the clock


class SampleCountSerializer(StrictSerializer):
    """How long to count."""

    seconds = BoundedFloatField(min_value=0, max_value=120, default=1.0)


@job_kind("sample.count", serializer=SampleCountSerializer)
def sample_count(context: JobContext, *, seconds: float) -> dict[str, Any]:
    """Keep a processor busy for ``seconds``, with progress in milliseconds, then store the effect in a fenced step."""
    started = time.monotonic()
    counted = 0
    while (spent := time.monotonic() - started) < seconds:
        for _ in range(STEP):
            counted += 1
        context.progress(done=round(spent * 1000), total=round(seconds * 1000), message="counting")
    with context.step() as step:
        Effect.objects.create(job_id=context.job.pk)
        step.save(checkpoint=None, done=round(seconds * 1000), total=round(seconds * 1000))
    return {"counted": counted}


class SampleCensusSerializer(StrictSerializer):
    """A census takes no parameters."""


@job_kind(
    "sample.census", serializer=SampleCensusSerializer, permission="sample.view_note", staff_read=True, attempts=2
)
def sample_census(context: JobContext) -> dict[str, Any]:
    """Count every note: for who may see them all, and open to staff."""
    return {"notes": Note.objects.count()}
