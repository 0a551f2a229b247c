from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0008_failed_jobs")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                fields=["owner", "kind", "state", "-created_at", "-id"],
                name="jobs_owner_ended",
                condition=models.Q(state__in=("succeeded", "failed", "cancelled")),
            ),
        ),
    ]
