"""The retention of the admin's sessions: they are pruned as soon as they expire."""

from django.contrib.sessions.models import Session

from apps.practices.privacy.retention import Retention, rows_before

Retention(name="admin-sessions", days=lambda: 0, rows=rows_before(Session, "expire_date"))
