"""All that is held of a user, as one file for the user: what every app declares in its `personal` module."""

from __future__ import annotations

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


class ExportUnderWay(Conflict):
    """409: one at a time."""

    status = 409
    type = "export-under-way"
    title = "Export under way"
    explanation = "An export of this account waits or runs already. Follow that job, or cancel it."


def export_submit(*, user: User) -> Job:
    """Have the user's data written to a file, and let the former file go; raises ExportUnderWay.

    The user's row is locked, so that of several requests one gets its export. Raises TokenRefused when it has just gone.
    """
    with transaction.atomic():
        if not User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk").first():
            raise TokenRefused("The account is gone.")
        under_way = job_under_way(owner_id=user.pk, kind=KIND)
        if under_way is not None:
            raise ExportUnderWay(f"The job {under_way} is at it already. Follow it, or cancel it.")
        jobs_purge_finished(owner_id=user.pk, kind=KIND)
        return job_submit(kind=KIND, owner=user, parameters={})


def account_export(context: JobContext) -> dict[str, Any]:
    """Write the file, a JSON object a line: {"of": "sessions", "row": {...}}. Memory holds CHUNK_BYTES and a few rows.

    An attempt that is repeated writes the file from its beginning.
    """
    if context.owner is None:
        raise ValueError("An export needs an owner: it is of their data.")
    context.result_file(name="account.ndjson", content_type="application/x-ndjson")
    rows: Counter[str] = Counter()
    held = bytearray()
    for data in personal_data():
        if data.withheld:
            continue
        for row in data.rows(user_id=context.owner.pk):
            held += _line(data.name, row)
            rows[data.name] += 1
            if len(held) >= CHUNK_BYTES:
                _append(context, held)
            context.progress(done=rows.total())
    _append(context, held)
    return {"rows": dict(rows)}


def _line(name: str, row: dict[str, Any]) -> bytes:
    """Encode a row; a column of another table is called `group.name`."""
    shown = {field.replace("__", "."): value for field, value in row.items()}
    return json.dumps({"of": name, "row": shown}, cls=DjangoJSONEncoder, ensure_ascii=False).encode() + b"\n"


def _append(context: JobContext, held: bytearray) -> None:
    """Store what is held, and hold nothing."""
    with context.step() as step:
        step.append_result(bytes(held))
    held.clear()
