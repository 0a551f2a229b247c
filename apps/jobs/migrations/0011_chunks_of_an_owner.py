from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0010_chunk_owner")]

    operations = [
        AddIndexConcurrently(
            model_name="jobchunk",
            index=models.Index(
                fields=["owner_id"],
                name="jobs_chunk_owner",
                condition=models.Q(owner_id__isnull=False),
            ),
        ),
    ]
