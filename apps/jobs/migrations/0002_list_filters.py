from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0001_initial")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["owner", "state", "-created_at", "-id"], name="jobs_owner_state"),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["owner", "kind", "-created_at", "-id"], name="jobs_owner_kind"),
        ),
    ]
