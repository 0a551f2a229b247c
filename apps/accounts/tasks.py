"""The heavy work of accounts: mails, which no mail server may slow down or fail, and what is held of a user, as a file."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers

from apps.accounts.services import exports, mails
from apps.accounts.services.mails import Mail, mail_send
from apps.jobs.context import JobContext
from apps.jobs.kinds import job_kind
from apps.practices.validation.serializers import StrictSerializer

# A mail server may be away for hours: the pauses between these add up to some four.
ATTEMPTS = 36


class MailParametersSerializer(StrictSerializer):
    """Which mail, and to whom."""

    template = serializers.ChoiceField(choices=[mail.value for mail in Mail])
    user = serializers.UUIDField(required=False)
    address = serializers.CharField(max_length=254, required=False)
    asker = serializers.CharField(max_length=64, required=False)


@job_kind(mails.KIND, serializer=MailParametersSerializer, queue="mail", attempts=ATTEMPTS, keep=False)
def accounts_mail(
    context: JobContext,
    *,
    template: str,
    user: UUID | None = None,
    address: str | None = None,
    asker: str | None = None,
) -> None:
    """Send a mail at least once; it is known by its Message-ID when it comes twice."""
    mail_send(context, template=Mail(template), user_id=user, address=address, asker=asker, now=timezone.now())


class ExportParametersSerializer(StrictSerializer):
    """An export takes no parameters: it is of its owner."""


@job_kind(exports.KIND, serializer=ExportParametersSerializer, unique=True)
def accounts_export(context: JobContext) -> dict[str, Any]:
    """Write all that is held of the owner to a file."""
    return exports.account_export(context)
