from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0005_turns_and_schedules")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                fields=["queue", "turn", "id"], name="jobs_suspects", condition=models.Q(state="queued", suspect=True)
            ),
        ),
    ]
