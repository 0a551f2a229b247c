"""What people change about their own account."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from apps.accounts.models import User
from apps.accounts.services.emails import email_change_request
from apps.accounts.services.events import Origin
from apps.accounts.services.users import user_update


def account_update(
    *,
    user_id: UUID,
    origin: Origin,
    now: datetime,
    name: str | None = None,
    email: str | None = None,
    current_password: str = "",
) -> User:
    """Change the name, and have a link mailed to another address, which becomes the account's when it is followed.

    Raises what ``email_change_request`` raises, and then nothing has changed.
    """
    if email is not None:
        email_change_request(user_id=user_id, email=email, current_password=current_password, origin=origin, now=now)
    return user_update(user_id=user_id, name=name)
