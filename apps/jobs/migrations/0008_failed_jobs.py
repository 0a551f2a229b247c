from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0007_workers")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                fields=["kind", "-created_at", "-id"], name="jobs_failed", condition=models.Q(state="failed")
            ),
        ),
    ]
