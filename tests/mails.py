"""Mails as their recipients get them: run the due jobs, and read the link from the text."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from django.core import mail

from apps.accounts.services.mails import KIND
from apps.jobs.models import Job, JobState
from apps.jobs.tasks import job_run
from tests.secrets import secret_note


def mails_sent() -> list[EmailMessage]:
    """Do every mail job that waits, as a worker would, and give what was sent since the test began."""
    for job_id in Job.objects.filter(kind=KIND, state=JobState.QUEUED).order_by("id").values_list("pk", flat=True):
        job_run(str(job_id))
    return [parsed(message.message().as_bytes()) for message in mail.outbox]


def mails_in(folder: Path) -> list[EmailMessage]:
    """Return the mails in a folder of filemail://, the oldest first."""
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    contents = [path.read_bytes().split(b"\n" + b"-" * 79 + b"\n") for path in files]
    return [parsed(one) for content in contents for one in content if one.strip()]


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=policy.default)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Return the text or the HTML of a mail."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def link_in(message: EmailMessage) -> str:
    """Return the only link of a mail."""
    found = re.findall(r"https?://\S+#\S+", text_of(message))
    assert len(found) == 1, found
    return found[0]


def token_in(message: EmailMessage) -> str:
    """Return the token in the mail's link."""
    return secret_note(link_in(message).partition("#")[2])
