from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("jobs", "0009_ended_jobs_of_a_kind")]

    operations = [
        migrations.AddField(
            model_name="jobchunk",
            name="owner_id",
            field=models.UUIDField(editable=False, null=True),
        ),
    ]
