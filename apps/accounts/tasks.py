"""Jobs of accounts: sending mails, and exporting a user's data."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from apps.accounts.services import exports, mails
from apps.accounts.services.mails import Mail, mail_send
from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.practices.validation.addresses import EMAIL_LENGTH
from apps.practices.validation.serializers import StrictSerializer

# The pauses between them add up to about four hours, in case the mail server is away.
ATTEMPTS = 36


class MailParametersSerializer(StrictSerializer):
    """The mail to send, and its recipient."""

    template = serializers.ChoiceField(choices=[mail.value for mail in Mail])
    user_id = serializers.UUIDField(required=False)
    address = serializers.CharField(max_length=EMAIL_LENGTH, required=False)
    requester = serializers.CharField(max_length=64, required=False)


@JobKind(mails.KIND, serializer=MailParametersSerializer, queue="mail", attempts=ATTEMPTS, keep=False)
def accounts_mail(context: JobContext, *, template: str, **recipient: Any) -> None:
    """Send a mail at least once; its Message-ID identifies a repetition."""
    mail_send(context, template=Mail(template), now=timezone.now(), **recipient)


class ExportParametersSerializer(StrictSerializer):
    """No parameters: an export is of its owner's data."""


@JobKind(exports.KIND, serializer=ExportParametersSerializer, unique=True)
def accounts_export(context: JobContext) -> dict[str, Any]:
    """Export the owner's data to a file."""
    return exports.account_export(context)
