from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # an index is built beside reads and writes only outside a transaction

    dependencies = [("accounts", "0003_accounts_whole")]

    operations = [
        AddIndexConcurrently(
            model_name="refreshfamily",
            index=models.Index(fields=["user", "-created_at", "-id"], name="accounts_family_user_created"),
        ),
    ]
