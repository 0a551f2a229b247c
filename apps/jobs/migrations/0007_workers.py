from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):

    dependencies = [("jobs", "0006_suspects")]

    operations = [
        migrations.CreateModel(
            name="JobWorker",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("queues", models.JSONField(default=list)),
                ("started_at", models.DateTimeField(db_default=Now())),
                ("seen_at", models.DateTimeField(db_default=Now())),
            ],
        ),
    ]
