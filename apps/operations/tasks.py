"""The service's own work: what a schedule asks for."""

from typing import Any

from django.utils import timezone

from apps.jobs.context import JobContext
from apps.jobs.kinds import job_kind
from apps.practices.database.retention import retentions
from apps.practices.validation.serializers import StrictSerializer


class PruneParametersSerializer(StrictSerializer):
    """Pruning takes no parameters: what is kept for how long is in the settings."""


@job_kind("operations.prune", serializer=PruneParametersSerializer)
def operations_prune(context: JobContext) -> dict[str, Any]:
    """Remove what its retention no longer keeps, as ``manage.py prune`` does."""
    now = timezone.now()
    removed = {retention.name: 0 for retention in retentions()}
    for retention in retentions():
        for count in retention.prune(now=now):
            removed[retention.name] += count
            context.progress(done=sum(removed.values()), message=retention.name)
    return {"removed": removed}
