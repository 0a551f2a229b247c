"""The service's own scheduled jobs."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.operations.alerts import mails
from apps.operations.alerts.measures import Facts
from apps.operations.alerts.table import ALERTS, firing
from apps.practices.privacy.retention import retentions
from apps.practices.validation.serializers import StrictSerializer


class PruneParametersSerializer(StrictSerializer):
    """No parameters: the settings say what is kept for how long."""


@JobKind("operations.prune", serializer=PruneParametersSerializer)
def operations_prune(context: JobContext) -> dict[str, Any]:
    """Delete data past its retention, as ``manage.py prune`` does."""
    now = timezone.now()
    removed = {retention.name: 0 for retention in retentions()}
    for retention in retentions():
        for count in retention.prune(now=now):
            removed[retention.name] += count
            context.progress(done=sum(removed.values()), message=retention.name)
    return {"removed": removed}


class AlertsParametersSerializer(StrictSerializer):
    """No parameters: the alerts are those of the table."""


@JobKind("operations.alerts", serializer=AlertsParametersSerializer, seconds=60, keep=False)
def operations_alerts(context: JobContext) -> dict[str, Any]:
    """Look at the alerts, and submit a mail for each that has begun to fire or has ended."""
    found = firing(Facts())
    with context.step():
        sent = mails.alerts_record(found, now=timezone.now())
    return {"firing": [one.alert.name for one in found], "mails": sent}


class AlertMailParametersSerializer(StrictSerializer):
    """The parameters of a mail about an alert."""

    alert = serializers.ChoiceField(choices=[alert.name for alert in ALERTS])
    is_firing = serializers.BooleanField()
    at = serializers.DateTimeField()
    details = serializers.CharField(allow_blank=True, max_length=2000)


@JobKind(mails.KIND, serializer=AlertMailParametersSerializer, queue="mail", attempts=12, keep=False)
def operations_alert_mail(context: JobContext, **values: Any) -> None:
    """Send a mail about an alert at least once."""
    mails.alert_mail_send(job_id=context.job.pk, **values)
