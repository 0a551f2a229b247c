"""Sign-ins that have ended, or were left to expire."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from apps.accounts.models import RefreshFamily
from apps.practices.database.retention import Retention


def _rows(before: datetime) -> Sequence[QuerySet[RefreshFamily]]:
    ended = RefreshFamily.objects.filter(ended_at__lt=before).order_by("ended_at")
    expired = RefreshFamily.objects.filter(expires_at__lt=before).order_by("expires_at")
    return (ended, expired)


Retention(name="sign-ins", days=lambda: settings.RETENTION_SESSIONS, rows=_rows)
