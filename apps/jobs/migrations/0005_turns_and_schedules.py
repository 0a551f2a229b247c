from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

QUEUED = models.Q(state="queued")
SCHEDULED = models.Q(("schedule", ""), _negated=True)


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("jobs", "0004_ledger_whole")]

    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["queue", "turn", "id"], name="jobs_turn", condition=QUEUED),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["owner", "queue", "turn"], name="jobs_owner_turn", condition=QUEUED),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY jobs_schedule_once ON jobs_job (schedule, slot) WHERE schedule <> ''",
                    "DROP INDEX CONCURRENTLY jobs_schedule_once",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="job",
                    constraint=models.UniqueConstraint(
                        fields=["schedule", "slot"], name="jobs_schedule_once", condition=SCHEDULED
                    ),
                ),
            ],
        ),
    ]
