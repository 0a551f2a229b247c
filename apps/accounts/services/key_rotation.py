"""The ring of signing keys changes: a new key comes, and those go that nothing valid is signed with, or that others know."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.models import SecurityEventKind, Session
from apps.accounts.services.events import event_record
from apps.accounts.services.keys import KeyRing
from apps.accounts.services.sessions import sessions_end_signed_by

SIGNS_AFTER = timedelta(minutes=10)  # every instance has to know a new key before the first of them signs with it
ROLLED_OUT_LATE = timedelta(
    days=1
)  # how long an instance may go on signing with a key that another has taken over from
NEW_KEY_BYTES = 48


class RotationRefused(Exception):
    """The ring cannot be changed as asked; the message says what to do. Nothing has been changed."""


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What became of the ring. `kid` is the new key's, None when there was nothing left to change but sign-ins.

    `value` is the new ring as JWT_KEYS holds it, and secret. `file` is where it was written; None: it is for somebody to
    set. `ended` counts the sign-ins that ended.
    """

    kid: str | None
    sign_from: datetime | None
    dropped: tuple[str, ...]
    value: str = field(repr=False)
    file: Path | None
    ended: int = 0


def keys_rotate(
    *, now: datetime, file: Path | None = None, compromised: str | None = None, is_rehearsal: bool = False
) -> Rotation:
    """Make a new key, drop those that nothing valid is signed with, and write the ring to ``file`` where there is one.

    A key that is ``compromised`` is dropped, too, and ends the sign-ins whose tokens it signed. One that the ring no longer
    holds only ends them: sign-ins may have begun on an instance that had not heard of it. Raises RotationRefused. A
    rehearsal writes nothing, counts what would end, and makes a key that is thrown away.
    """
    entries = list(settings.TOKENS_KEYS)
    if compromised is not None and compromised not in {entry["kid"] for entry in entries}:
        return _late_sessions_end(kid=compromised, now=now, is_rehearsal=is_rehearsal)
    new, kept = _ring_next(entries, now=now, compromised=compromised)
    gone = tuple(entry["kid"] for entry in entries if entry not in kept)
    value = json.dumps([_written(entry) for entry in [*kept, new]], indent=None if file is None else 2)
    ended = 0
    if is_rehearsal:
        ended = _signed_by(compromised).count() if compromised else 0
    elif file is not None:
        with _file_held(file, entries=entries), transaction.atomic():
            _record(now=now, made=new["kid"], dropped=gone, compromised=compromised)
            _file_replace(file.resolve(), f"{value}\n")
    elif compromised:
        _record(now=now, made=None, dropped=(), compromised=compromised)
    if compromised and not is_rehearsal:
        ended = sessions_end_signed_by(kid=compromised, now=now)
    return Rotation(
        kid=new["kid"], sign_from=new["sign_from"], dropped=gone, value=value, file=file and file.resolve(), ended=ended
    )


def _signed_by(kid: str) -> QuerySet[Session]:
    return Session.objects.filter(ended_at=None, signed_by=kid)


def _late_sessions_end(*, kid: str, now: datetime, is_rehearsal: bool) -> Rotation:
    signed = _signed_by(kid)
    if not signed.exists():
        known = ", ".join(entry["kid"] for entry in settings.TOKENS_KEYS)
        raise RotationRefused(
            f"No key of the ring has the kid {kid!r}, and no sign-in that stands is signed by one. The ring has {known}."
        )
    if is_rehearsal:
        ended = signed.count()
    else:
        _record(now=now, made=None, dropped=(), compromised=kid)
        ended = sessions_end_signed_by(kid=kid, now=now)
    return Rotation(kid=None, sign_from=None, dropped=(), value="", file=None, ended=ended)


def _ring_next(
    entries: Sequence[Mapping[str, Any]], *, now: datetime, compromised: str | None
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """Make a new key and choose those that stay beside it."""
    trusted = [entry for entry in entries if entry["kid"] != compromised]
    idle = _idle(trusted, now=now)
    kept = [entry for entry in trusted if entry["kid"] not in idle]
    somebody_signs = any(entry["sign_from"] <= now for entry in kept)
    new = {
        "kid": f"{now:%Y-%m-%d}-{secrets.token_hex(3)}",
        "key": secrets.token_urlsafe(NEW_KEY_BYTES),
        "sign_from": (now + SIGNS_AFTER if somebody_signs else now).replace(microsecond=0),
    }
    return new, kept


def _idle(entries: Sequence[Mapping[str, Any]], *, now: datetime) -> set[str]:
    """Name the keys that no valid token can be signed with: another took over longer ago than a refresh token lives."""
    lives = timedelta(seconds=max(settings.TOKENS_REFRESH_SECONDS, settings.TOKENS_ACCESS_SECONDS)) + ROLLED_OUT_LATE
    youngest_first = KeyRing(entries).keys
    return {older.kid for younger, older in pairwise(youngest_first) if younger.sign_from + lives <= now}


def _written(entry: Mapping[str, Any]) -> dict[str, str]:
    sign_from = entry["sign_from"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"kid": entry["kid"], "key": entry["key"], "sign_from": sign_from}


def _record(*, now: datetime, made: str | None, dropped: Sequence[str], compromised: str | None) -> None:
    event_record(
        SecurityEventKind.KEYS_ROTATED,
        now=now,
        user_id=None,
        made=made,
        dropped=list(dropped),
        compromised=compromised,
    )


@contextmanager
def _file_held(path: Path, *, entries: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Keep other rotations away from the file, which has to say still what this process has read from it."""
    with ExitStack() as held:
        try:
            fcntl.flock(held.enter_context(path.open(encoding="utf-8")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = [(entry["kid"], entry["key"]) for entry in json.loads(path.read_text(encoding="utf-8"))]
        except BlockingIOError as error:
            raise RotationRefused(f"Another rotation is at work on {path}. Run this one when it has ended.") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RotationRefused(
                f"{path} holds no ring any more ({type(error).__name__}). Look at it first."
            ) from error
        if found != [(entry["kid"], entry["key"]) for entry in entries]:
            raise RotationRefused(f"{path} has changed since this command began. Look at it, and run it again.")
        yield


def _file_replace(path: Path, text: str) -> None:
    """Write the file anew, whole or not at all: whoever reads it, at whatever moment, finds one ring or the other.

    Owner and group stay. So does the mode of a file that is closed to others; an open one is closed to all but its owner.
    """
    was = path.stat()
    mode = was.st_mode & 0o777
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.fstat(new.fileno()).st_gid):
                os.fchown(new.fileno(), was.st_uid, was.st_gid)
            os.fchmod(new.fileno(), mode if mode & 0o007 == 0 else 0o600)
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.replace(temporary, path)
        temporary = None
        _folder_sync(path.parent)
    except OSError as error:
        raise RotationRefused(
            f"{path} cannot be written ({error.strerror}), and is as it was. Run this as the user that owns the file, where "
            "its folder can be written; or with --print, and put what it prints where the file comes from."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _folder_sync(folder: Path) -> None:
    """Make the new name last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
