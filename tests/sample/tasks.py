"""Heavy work: counts for a while, and leaves exactly one effect."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

from django.db import connection
from rest_framework.serializers import ChoiceField

from apps.jobs.context import JobContext
from apps.jobs.kinds import job_kind
from apps.practices.validation.fields import BoundedFloatField
from apps.practices.validation.serializers import StrictSerializer
from tests.sample.models import Effect, Note

# Shared memory, which counts as nobody's data.
_HOARD = """
import mmap, time
held, piece = mmap.mmap(-1, 1 << 29), bytes([1]) * (1 << 20)
for _ in range(1 << 9):
    held.write(piece)
time.sleep(60)
"""
STEP = 20_000  # additions between two looks at the clock


class SampleCountSerializer(StrictSerializer):
    """How long to count."""

    seconds = BoundedFloatField(min_value=0, max_value=120, default=1.0)


@job_kind("sample.count", serializer=SampleCountSerializer)
def sample_count(context: JobContext, *, seconds: float) -> dict[str, Any]:
    """Keep a processor busy for ``seconds``, with progress in milliseconds, then store the effect in a fenced step."""
    if context.checkpoint is not None:
        return {"counted": context.checkpoint}  # an earlier attempt got so far, and died before it could say so
    started = time.monotonic()
    counted = 0
    while (spent := time.monotonic() - started) < seconds:
        for _ in range(STEP):
            counted += 1
        context.progress(done=round(spent * 1000), total=round(seconds * 1000), message="counting")
    with context.step() as step:
        Effect.objects.create(job_id=context.job.pk)
        step.save(checkpoint=counted, done=round(seconds * 1000), total=round(seconds * 1000))
    return {"counted": counted}


class SampleNothingSerializer(StrictSerializer):
    """No parameters."""


@job_kind("sample.nothing", serializer=SampleNothingSerializer)
def sample_nothing(context: JobContext) -> None:
    """Be a job, for what being one costs."""


class SampleTroubleSerializer(StrictSerializer):
    """What the job does to the process that runs it."""

    does = ChoiceField(
        choices=[
            "kills its process",
            "kills its worker",
            "takes memory",
            "takes memory elsewhere",
            "waits for PostgreSQL",
            "computes",
        ]
    )


@job_kind("sample.trouble", serializer=SampleTroubleSerializer, attempts=3, memory_mib=128)
def sample_trouble(context: JobContext, *, does: str) -> None:
    """Be the job that no worker should have taken."""
    match does:
        case "kills its process":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kills its worker":
            time.sleep(1)  # so that others run beside it
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(10)  # the worker takes a moment to die, and this process with it
        case "takes memory":
            held = [bytearray(1024**2) for _ in range(1024)]
            assert held
        case "waits for PostgreSQL":
            with context.step(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0")
                cursor.execute("SELECT pg_sleep(30)")
        case "computes":  # and reaches no checkpoint, holding Python's global lock
            sum(range(10**10))
        case _:  # where the limit of this process does not reach
            subprocess.run([sys.executable, "-c", _HOARD], check=True)


@job_kind("sample.overtime", serializer=SampleNothingSerializer, seconds=2, attempts=1)
def sample_overtime(context: JobContext) -> None:
    """Compute for longer than the kind may, and reach no checkpoint."""
    sum(range(10**10))


class SampleCensusSerializer(StrictSerializer):
    """A census takes no parameters."""


@job_kind(
    "sample.census",
    serializer=SampleCensusSerializer,
    permission="sample.view_note",
    staff_read=True,
    attempts=2,
    unique=True,
)
def sample_census(context: JobContext) -> dict[str, Any]:
    """Count every note: for who may see them all, and open to staff."""
    return {"notes": Note.objects.count()}
