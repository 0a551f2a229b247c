"""The retention of the admin's sessions: they are pruned as soon as they expire."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib.sessions.models import Session
from django.db.models import QuerySet

from apps.practices.privacy.retention import Retention


def _rows(before: datetime) -> Sequence[QuerySet[Session]]:
    return (Session.objects.filter(expire_date__lt=before).order_by("expire_date"),)


Retention(name="admin-sessions", days=lambda: 0, rows=_rows)
