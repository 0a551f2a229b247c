"""How long accounts keep ended sessions, security events, attempt counts and mailed links."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from apps.accounts.models import AccountLink, AttemptCount, SecurityEvent, Session
from apps.practices.database.keys import uuid7_floor
from apps.practices.privacy.retention import Retention, rows_before


def _sessions(before: datetime) -> Sequence[QuerySet[Session]]:
    ended = Session.objects.filter(ended_at__lt=before).order_by("ended_at")
    expired = Session.objects.filter(expires_at__lt=before).order_by("expires_at")
    # Found by the start time in their keys: every refresh would have to update an index on current_issued_at.
    unused_since = before - timedelta(seconds=settings.TOKENS_REFRESH_SECONDS)
    old = Session.objects.filter(pk__lt=uuid7_floor(unused_since)).order_by("pk")
    return (ended, expired, old.filter(current_issued_at__lt=unused_since))


Retention(name="sessions", days=lambda: settings.RETENTION_SESSIONS, rows=_sessions)
Retention(name="security-events", days=lambda: settings.RETENTION_EVENTS, rows=rows_before(SecurityEvent, "created_at"))
Retention(name="attempts", days=lambda: 0, rows=rows_before(AttemptCount, "expires_at"))
Retention(name="links", days=lambda: 0, rows=rows_before(AccountLink, "expires_at"))
