import apps.practices.database.keys
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0003_ended_jobs'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.UUIDField(default=apps.practices.database.keys.uuid7, editable=False, primary_key=True, serialize=False)),
                ('owner', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('method', models.CharField(max_length=10)),
                ('route', models.CharField(max_length=200)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.BinaryField(max_length=32)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True)),
                ('status', models.PositiveIntegerField(null=True)),
                ('headers', models.JSONField(default=dict)),
                ('answer', models.BinaryField(default=b'')),
            ],
            options={
                'constraints': [
                    models.UniqueConstraint(fields=('owner', 'method', 'route', 'key'), name='jobs_idempotency_key_once'),
                ],
            },
        ),
        migrations.AddField(
            model_name='job',
            name='is_alone',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='job',
            name='schedule',
            field=models.CharField(blank=True, db_default='', default='', max_length=100),
        ),
        migrations.AddField(
            model_name='job',
            name='slot',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='suspect',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='job',
            name='turn',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
