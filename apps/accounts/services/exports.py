"""Export a user's data to a file: everything that each app declares in its `personal` module."""

import json
from collections import Counter
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services.tokens import TokenRefused
from apps.jobs.context import JobContext
from apps.jobs.models import CHUNK_BYTES, Job
from apps.jobs.selectors import job_under_way
from apps.jobs.services import job_submit
from apps.jobs.services.purge import jobs_purge_finished
from apps.practices.errors import Conflict
from apps.practices.privacy.personal import personal_data

KIND = "accounts.export"


class ExportUnderWay(Conflict, type="export-under-way", title="Export under way"):
    explanation = "This account already has an export queued or running. Wait for that job, or cancel it."


def export_submit(*, user: User) -> Job:
    """Submit a job that exports the user's data, and delete the previous export.

    Raise ExportUnderWay, and TokenRefused if the account has just been deleted. The user's row is locked, so that only one of
    several parallel requests gets an export.
    """
    with transaction.atomic():
        if not User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk").first():
            raise TokenRefused("The account has been deleted.")
        under_way = job_under_way(owner_id=user.pk, kind=KIND)
        if under_way is not None:
            raise ExportUnderWay(f"Job {under_way} is exporting this account. Wait for it, or cancel it.")
        jobs_purge_finished(owner_id=user.pk, kind=KIND)
        return job_submit(kind=KIND, owner=user, parameters={})


def account_export(context: JobContext) -> dict[str, Any]:
    """Write the file, one JSON object per line: {"of": "sessions", "row": {...}}. Memory holds CHUNK_BYTES and a few rows.

    A repeated attempt writes the file from the beginning.
    """
    if context.owner is None:
        raise ValueError("An export job needs an owner, whose data it exports.")
    context.result_file(name="account.ndjson", content_type="application/x-ndjson")
    rows: Counter[str] = Counter()
    buffer = bytearray()
    for data in personal_data():
        if data.withheld:
            continue
        for row in data.rows(user_id=context.owner.pk):
            buffer += _line(data.name, row)
            rows[data.name] += 1
            if len(buffer) >= CHUNK_BYTES:
                _append(context, buffer)
            context.progress(done=rows.total())
    _append(context, buffer)
    return {"rows": dict(rows)}


def _line(name: str, row: dict[str, Any]) -> bytes:
    """Encode a row; name a related table's column `group.name`."""
    shown = {field.replace("__", "."): value for field, value in row.items()}
    return json.dumps({"of": name, "row": shown}, cls=DjangoJSONEncoder, ensure_ascii=False).encode() + b"\n"


def _append(context: JobContext, buffer: bytearray) -> None:
    """Store the buffer and empty it."""
    with context.step() as step:
        step.append_result(bytes(buffer))
    buffer.clear()
