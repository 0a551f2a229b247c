"""Rings of keys, and the command that rotates them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command

OLD, SPARE = "0ld-9xKc2VqTfLw7RmZbN4hYp8GsDj3uEa6", "5pare-tH7nWq2JzXv9CkLs4PbRy6MdFg8Ue3"
DAY = timedelta(days=1)


def entry(kid: str, key: str, sign_from: datetime) -> dict[str, Any]:
    return {"kid": kid, "key": key, "sign_from": sign_from.replace(microsecond=0)}


def text_of(*entries: dict[str, Any]) -> str:
    return json.dumps([{**each, "sign_from": each["sign_from"].isoformat()} for each in entries])


def rotate(*arguments: str) -> tuple[str, str]:
    """Return what the command writes to standard output and to standard error."""
    out, error = StringIO(), StringIO()
    call_command("rotate_keys", *arguments, stdout=out, stderr=error)
    return out.getvalue(), error.getvalue()
