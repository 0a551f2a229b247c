"""The service's own scheduled jobs."""

from typing import Any

from django.utils import timezone

from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
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
