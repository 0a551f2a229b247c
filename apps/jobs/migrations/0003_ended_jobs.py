from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0002_list_filters")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                fields=["finished_at"], name="jobs_ended", condition=models.Q(finished_at__isnull=False)
            ),
        ),
    ]
