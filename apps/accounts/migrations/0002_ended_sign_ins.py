from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("accounts", "0001_initial")]

    operations = [
        AddIndexConcurrently(
            model_name="refreshfamily",
            index=models.Index(
                fields=["ended_at"], name="accounts_family_ended", condition=models.Q(ended_at__isnull=False)
            ),
        ),
    ]
