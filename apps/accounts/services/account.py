"""Changes that users make to their own account."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services.emails import email_change_request
from apps.accounts.services.events import Origin
from apps.accounts.services.tokens import TokenRefused
from apps.accounts.services.users import user_save


def account_update(
    *,
    user_id: UUID,
    origin: Origin,
    now: datetime,
    name: str | None = None,
    email: str | None = None,
    current_password: str = "",
) -> User:
    """Change the name, and mail a link to a new address, which becomes the account's once the link is followed.

    Raise what `email_change_request` raises, before anything is changed, and TokenRefused if the account has just been deleted.
    """
    if email is not None:
        email_change_request(user_id=user_id, email=email, current_password=current_password, origin=origin, now=now)
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise TokenRefused("The account has been deleted.")
        if name is not None:
            user.name = name
        user_save(user=user, fields=("name",) if name is not None else ())
    return user
