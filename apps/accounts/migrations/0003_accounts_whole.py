import apps.practices.database.keys
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_ended_sign_ins'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountLink',
            fields=[
                ('digest', models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='links', to=settings.AUTH_USER_MODEL)),
                ('purpose', models.CharField(choices=[('verify-email', 'verify the address'), ('reset-password', 'set a new password'), ('change-email', 'take a new address')], max_length=20)),
                ('email', models.EmailField(max_length=254)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name='AttemptCount',
            fields=[
                ('key', models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ('failures', models.PositiveIntegerField()),
                ('counted_since', models.DateTimeField()),
                ('refused_until', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name='SecurityEvent',
            fields=[
                ('id', models.UUIDField(default=apps.practices.database.keys.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('registered', 'account created'), ('sign-in', 'signed in'), ('sign-in-failed', 'sign-in failed'), ('sign-ins-ended', 'sign-ins ended'), ('token-reused', 'a used refresh token came again'), ('password-changed', 'password changed'), ('email-verified', 'e-mail address verified'), ('email-changed', 'e-mail address changed'), ('unlocked', 'refusals after failed sign-ins lifted'), ('keys-rotated', 'signing keys rotated'), ('deleted', 'account deleted')], max_length=20)),
                ('created_at', models.DateTimeField()),
                ('user', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='security_events', to=settings.AUTH_USER_MODEL)),
                ('family_id', models.UUIDField(null=True)),
                ('address', models.CharField(blank=True, default='', max_length=45)),
                ('device', models.CharField(blank=True, default='', max_length=200)),
                ('request_id', models.CharField(blank=True, default='', max_length=64)),
                ('detail', models.JSONField(default=dict)),
            ],
            options={
                'indexes': [
                    models.Index(fields=['user', '-created_at', '-id'], name='accounts_event_user'),
                    models.Index(fields=['-created_at', '-id'], name='accounts_event_created'),
                ],
            },
        ),
        migrations.AddField(
            model_name='refreshfamily',
            name='signed_by',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddField(
            model_name='refreshfamily',
            name='transport',
            field=models.CharField(choices=[('bearer', 'Authorization header'), ('cookie', 'cookies'), ('admin', 'admin')], db_default='bearer', default='bearer', max_length=6),
        ),
        migrations.AlterField(
            model_name='refreshfamily',
            name='ended_reason',
            field=models.CharField(blank=True, choices=[('logout', 'signed out'), ('owner', 'ended by its owner from another place'), ('reuse', 'a used refresh token came again'), ('admin', 'ended by an administrator'), ('account', 'the account was deactivated'), ('password', 'the password was set anew'), ('key', 'its signing key was given up as compromised')], default='', max_length=20),
        ),
        migrations.AlterField(
            model_name='refreshfamily',
            name='expires_at',
            field=models.DateTimeField(db_index=True, help_text='when it ends however often it is refreshed'),
        ),
    ]
