"""Jobs: one that counts and stores one effect, and some that misbehave."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

from django.db import connection
from rest_framework.serializers import ChoiceField

from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.practices.validation.fields import BoundedFloatField
from apps.practices.validation.serializers import StrictSerializer
from tests.sample.models import Effect, Note

# Shared memory, which RLIMIT_DATA does not count.
_HOARD = """
import mmap, time
held, piece = mmap.mmap(-1, 1 << 29), bytes([1]) * (1 << 20)
for _ in range(1 << 9):
    held.write(piece)
time.sleep(60)
"""
STEP = 20_000  # additions between two reads of the clock


class SampleCountSerializer(StrictSerializer):
    """The time to count for, in seconds."""

    seconds = BoundedFloatField(min_value=0, max_value=120, default=1.0)


@JobKind("sample.count", serializer=SampleCountSerializer)
def sample_count(context: JobContext, *, seconds: float) -> dict[str, Any]:
    """Keep a processor busy for ``seconds``, with progress in milliseconds, then store the effect in a fenced step."""
    if context.checkpoint is not None:
        return {"counted": context.checkpoint}  # an earlier attempt stored the effect, then died
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


@JobKind("sample.nothing", serializer=StrictSerializer)
def sample_nothing(context: JobContext) -> None:
    """Do nothing. Benchmarks use it to measure the cost of a job."""


class SampleTroubleSerializer(StrictSerializer):
    """How the job misbehaves."""

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


@JobKind("sample.trouble", serializer=SampleTroubleSerializer, attempts=3, memory_mib=128)
def sample_trouble(context: JobContext, *, does: str) -> None:
    """Misbehave as ``does`` says."""
    match does:
        case "kills its process":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kills its worker":
            time.sleep(1)  # so that other jobs are running
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(10)  # until the worker has died, and this process with it
        case "takes memory":
            held = [bytearray(1024**2) for _ in range(1024)]
            assert held
        case "waits for PostgreSQL":
            with context.step(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0")
                cursor.execute("SELECT pg_sleep(30)")
        case "computes":  # without a checkpoint, holding the GIL
            sum(range(10**10))
        case _:  # in a child process, which this process's limit does not cover
            subprocess.run([sys.executable, "-c", _HOARD], check=True)


@JobKind("sample.overtime", serializer=StrictSerializer, seconds=2, attempts=1)
def sample_overtime(context: JobContext) -> None:
    """Compute for longer than the kind's limit, without a checkpoint."""
    sum(range(10**10))


@JobKind(
    "sample.census",
    serializer=StrictSerializer,
    permission="sample.view_note",
    staff_read=True,
    attempts=2,
    unique=True,
)
def sample_census(context: JobContext) -> dict[str, Any]:
    """Count all notes. Needs the permission to view them, and staff may read the result."""
    return {"notes": Note.objects.count()}
