"""`manage.py changepassword`: Django's command, which here also ends the account's sessions and mailed links."""

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.attempts import attempts_clear
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.users import user_hash_set
from apps.practices.validation.addresses import email_normalised


class Command(changepassword.Command):
    help = "Set the password of the account with this address. Its sessions and mailed links end, and its owner gets a mail."

    def handle(self, *args: Any, **options: Any) -> str | None:
        email = email_normalised(options["username"] or "")
        message = super().handle(*args, **{**options, "username": email})
        with transaction.atomic():
            user = User.objects.select_for_update().get(email=email)
            user_hash_set(user=user, hashed=user.password, by="command", origin=NOWHERE, now=timezone.now())
            attempts_clear(email=email)
        return message
