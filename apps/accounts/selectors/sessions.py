"""Which sign-ins stand. Whose one is, is one query by primary key, remembered for TOKENS_CHECK_SECONDS."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.models import BooleanField, Case, QuerySet, Value, When

from apps.accounts.models import Session, Transport, User

REMEMBERED_MAX = 10_000  # sign-ins a process remembers at once, some 10 MB

# Everything a request may ask of its user except the hash, which stays out of memory (Django reads it when asked).
_USER_FIELDS = [field.attname for field in User._meta.concrete_fields if field.attname != "password"]
_COLUMNS = ["expires_at", "transport", *(f"user__{name}" for name in _USER_FIELDS)]


class _Look(NamedTuple):
    """What was read at `began` (monotonic seconds): a row of _COLUMNS, or None for a sign-in that does not stand."""

    began: float
    row: tuple | None


class _Table:
    """The last look at each sign-in, bounded, the oldest leaving first."""

    def __init__(self) -> None:
        self._looks: OrderedDict[UUID, _Look] = OrderedDict()
        self._changed = float("-inf")
        self._lock = threading.Lock()

    def get(self, session_id: UUID) -> _Look | None:
        look = self._looks.get(session_id)
        if look is None or time.monotonic() - look.began >= settings.TOKENS_CHECK_SECONDS:
            return None
        return look

    def put(self, session_id: UUID, look: _Look) -> None:
        """Keep a look, unless it began before a change: it may have read what was there before."""
        with self._lock:
            if look.began < self._changed:
                return
            self._looks[session_id] = look
            self._looks.move_to_end(session_id)
            if len(self._looks) > REMEMBERED_MAX:
                self._looks.popitem(last=False)

    def forget(self, wanted: Callable[[UUID, _Look], bool]) -> None:
        """Drop looks, and distrust those that are under way now."""
        with self._lock:
            self._changed = time.monotonic()
            for session_id in [session_id for session_id, look in self._looks.items() if wanted(session_id, look)]:
                del self._looks[session_id]


_table = _Table()


def session_user(*, session_id: UUID, transport: Transport, now: datetime) -> User | None:
    """Give the user of a sign-in that stands: not ended, not expired, its user active; None otherwise.

    None, too, where its tokens came another way than theirs: a stolen cookie is no bearer token.

    Rights and names are the row's as of at most TOKENS_CHECK_SECONDS ago. Each call gives an object of its own, so what
    a request does to it stays in that request.
    """
    look = _table.get(session_id)
    if look is None:
        look = _Look(began=time.monotonic(), row=_read(session_id))
        _table.put(session_id, look)
    if look.row is None or look.row[0] <= now or look.row[1] != transport:
        return None
    return User.from_db(DEFAULT_DB_ALIAS, _USER_FIELDS, look.row[2:])


def _read(session_id: UUID) -> tuple | None:
    standing = Session.objects.filter(pk=session_id, ended_at=None, user__is_active=True)
    return next(iter(standing.values_list(*_COLUMNS)), None)


def session_list(*, user_id: UUID, current: UUID | None, now: datetime) -> QuerySet[Session]:
    """A user's sign-ins that stand, those to the admin included; ``current`` of each row tells the one of that id."""
    unused_since = now - timedelta(seconds=settings.TOKENS_REFRESH_SECONDS)
    standing = Session.objects.filter(
        user_id=user_id, ended_at=None, expires_at__gt=now, current_issued_at__gt=unused_since
    )
    return standing.annotate(
        current=Case(When(pk=current, then=Value(True)), default=Value(False), output_field=BooleanField())
    )


def session_forget(*, session_id: UUID) -> None:
    """Look again at the next request of this sign-in. Call after the commit that changed it."""
    _table.forget(lambda known, _: known == session_id)


def sessions_forget(*, user_id: UUID) -> None:
    """Look again at the next request of each sign-in of this user. Call after the commit that changed the user."""
    position = _COLUMNS.index("user__id")
    _table.forget(lambda _, look: look.row is not None and look.row[position] == user_id)


def sessions_forget_all() -> None:
    """Look again at the next request of every sign-in."""
    _table.forget(lambda *_: True)
