"""Read sessions. Checking whose session a request has is one query by primary key, cached for TOKENS_CHECK_SECONDS."""

import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import BooleanField, Case, QuerySet, Value, When
from django.db.models.base import ModelState

from apps.accounts.models import Session, Transport, User

CHECKS_MAX = 10_000  # sessions whose checks a process caches, about 10 MB
CHECKED_TOGETHER = 50  # other sessions that one query checks
_SCANNED_MAX = 1000  # cached checks looked at to find them
_KNOWN_SECONDS = 10  # after a check: limits are counted for its user before authentication

# Everything a request may need of its user except the hash, which stays out of memory (Django reads it when it is needed).
_USER_FIELDS = [field.attname for field in User._meta.concrete_fields if field.attname != "password"]
_USER_ID = 2 + _USER_FIELDS.index("id")

# By primary keys, with the permissions that ModelBackend finds for a user, by itself and by groups. (It gives a superuser all.)
_CHECK = f"""
SELECT s.id, s.expires_at, s.transport, {", ".join(f'u."{name}"' for name in _USER_FIELDS)},
  CASE WHEN NOT u.is_superuser THEN ARRAY(
    SELECT t.app_label || '.' || p.codename
    FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
    WHERE p.id IN (
      SELECT up.permission_id FROM accounts_user_user_permissions up WHERE up.user_id = u.id
      UNION ALL
      SELECT gp.permission_id FROM accounts_user_groups ug JOIN auth_group_permissions gp USING (group_id)
      WHERE ug.user_id = u.id
    )
  ) END
FROM accounts_session s JOIN accounts_user u ON u.id = s.user_id
WHERE s.id = ANY(%s) AND s.ended_at IS NULL AND u.is_active
"""  # nosec B608 # noqa: S608 - the names of columns


@dataclass(slots=True)
class _Check:
    """The result of a query that started at `began` (monotonic seconds); no row if the session was not active."""

    began: float
    row: tuple[Any, ...] | None  # expires_at, transport, and the user's _USER_FIELDS
    permissions: set[str] | None = None  # of the user; a superuser's once a request has needed them (backends.py)
    used: float = float("-inf")  # when a request last needed it
    is_due: bool = True  # no other query is reading the session again


class _Checks:
    """The latest check of each session; the least recently used ones leave first."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._cache: OrderedDict[UUID, _Check] = OrderedDict()
        self._changed = float("-inf")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cache)

    def last(self, session_id: UUID) -> _Check | None:
        """Return the cached check, however old."""
        return self._cache.get(session_id)

    def get(self, session_id: UUID) -> _Check | None:
        """Return the cached check unless it is older than TOKENS_CHECK_SECONDS."""
        now = time.monotonic()
        with self._lock:
            check = self._cache.get(session_id)
            if check is None:
                return None
            check.used = now
            self._cache.move_to_end(session_id)
        return check if now - check.began < settings.TOKENS_CHECK_SECONDS else None

    def due(self, session_id: UUID) -> set[UUID]:
        """Return this session, and others in use whose checks are soon too old. No other caller gets these."""
        now, seconds = time.monotonic(), settings.TOKENS_CHECK_SECONDS
        found = {session_id}
        with self._lock:
            for other_id, check in islice(reversed(self._cache.items()), _SCANNED_MAX):
                if now - check.used >= seconds or len(found) > CHECKED_TOGETHER:
                    break
                if check.is_due and now - check.began > seconds / 2:
                    check.is_due = False
                    found.add(other_id)
        return found

    def put(self, session_id: UUID, check: _Check) -> None:
        """Cache a check, unless it began before a change, or before the cached one, and so may have read an older row."""
        with self._lock:
            before = self._cache.get(session_id)
            if check.began < self._changed or (before is not None and check.began < before.began):
                return
            check.used = check.began if before is None else before.used
            self._cache[session_id] = check
            if len(self._cache) > self._maxsize:
                self._cache.popitem(last=False)

    def forget(self, *, session_id: UUID | None = None, user_id: UUID | None = None) -> None:
        """Drop the check of a session, those of a user, or all; checks that are running now are not cached."""
        with self._lock:
            self._changed = time.monotonic()
            if session_id is not None:
                self._cache.pop(session_id, None)
            elif user_id is not None:
                for key in [key for key, check in self._cache.items() if check.row and check.row[_USER_ID] == user_id]:
                    del self._cache[key]
            else:
                self._cache.clear()


_checks = _Checks(CHECKS_MAX)


def session_user(*, session_id: UUID, transport: Transport, now: datetime) -> User | None:
    """Return the user of an active session: not ended, not expired, its user active. None otherwise.

    Return None as well if its tokens came by another transport: a stolen cookie does not work as a bearer token.

    The user's row and permissions were read at most TOKENS_CHECK_SECONDS ago. Each call returns a new object, so requests do not
    share it.
    """
    check = _checks.get(session_id) or _check(session_id)
    if check.row is None or check.row[0] <= now or check.row[1] != transport:
        return None
    return _user(check, check.row)


def _check(session_id: UUID) -> _Check:
    """Check a session, and in the same query others that are in use and soon due.

    With 200 sessions at 1,000 requests a second a process runs 4 to 8 queries a second instead of 200.
    """
    began = time.monotonic()
    session_ids = _checks.due(session_id)
    rows = _read(session_ids)
    checks = {}
    for each in session_ids:
        _, *row, permissions = rows.get(each) or (None, None)
        # Many sessions have the same permissions: the names are kept once.
        names = None if permissions is None else set(map(sys.intern, permissions))
        check = checks[each] = _Check(began, tuple(row) or None, names)
        _checks.put(each, check)
    return checks[session_id]


def _read(session_ids: set[UUID]) -> dict[UUID, tuple[Any, ...]]:
    """Return what _CHECK selects of the active ones of these sessions."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_CHECK, [list(session_ids)])
        return {row[0]: row for row in cursor.fetchall()}


def _user(check: _Check, row: tuple[Any, ...]) -> User:
    """Return what ``User.from_db`` makes of the row, in 1 µs instead of 8. No field of a user converts what it is given."""
    user = User.__new__(User)
    user.__dict__.update(zip(_USER_FIELDS, row[2:], strict=True))
    user._state = ModelState()
    user._state.adding, user._state.db = False, DEFAULT_DB_ALIAS
    user.session_check = check
    return user


def session_user_known(*, session_id: UUID, transport: Transport) -> UUID | None:
    """Return the id of a session's user if this process has found it active a moment ago, and not ended since. Runs no query.

    This only says whose session it is, not that it is still active.
    """
    check = _checks.last(session_id)
    if check is None or check.row is None or check.row[1] != transport:
        return None
    # An older one may have ended, and a stolen token must not use up the limits of its former user.
    if time.monotonic() - check.began > _KNOWN_SECONDS:
        return None
    return cast("UUID", check.row[_USER_ID])


def session_list(*, user_id: UUID, current: UUID | None, now: datetime) -> QuerySet[Session]:
    """Return a user's active sessions, including those of the admin; ``current`` is true on the row with that id."""
    unused_since = now - timedelta(seconds=settings.TOKENS_REFRESH_SECONDS)
    active = Session.objects.filter(
        user_id=user_id, ended_at=None, expires_at__gt=now, current_issued_at__gt=unused_since
    )
    return active.annotate(
        current=Case(When(pk=current, then=Value(True)), default=Value(False), output_field=BooleanField())
    )


def session_forget(*, session_id: UUID) -> None:
    """Check this session again at its next request. Call this after the commit that changed it."""
    _checks.forget(session_id=session_id)


def sessions_forget(*, user_id: UUID) -> None:
    """Check each session of this user again at its next request. Call this after the commit that changed the user."""
    _checks.forget(user_id=user_id)


def sessions_forget_all() -> None:
    """Check every session again at its next request."""
    _checks.forget()
