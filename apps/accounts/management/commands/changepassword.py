"""`manage.py changepassword`: Django's, with all that a new password means here."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.attempts import attempts_forget
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.users import user_hash_set
from apps.practices.validation.addresses import email_normalised


class Command(changepassword.Command):
    help = (
        "Set an account's password, given its address. Every sign-in and mailed link of it ends, and its owner is told."
    )

    def handle(self, *args: Any, **options: Any) -> str | None:
        email = email_normalised(options["username"] or "")
        said = super().handle(*args, **{**options, "username": email})
        with transaction.atomic():
            user = User.objects.select_for_update().get(email=email)
            user_hash_set(user=user, hashed=user.password, by="command", origin=NOWHERE, now=timezone.now())
            attempts_forget(email=email)
        return said
