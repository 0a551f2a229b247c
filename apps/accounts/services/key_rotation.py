"""Rotate the signing keys: add a new key, and drop those that nothing valid is signed with or that have leaked."""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.accounts.models import SecurityEventKind, Session
from apps.accounts.services.events import event_record
from apps.accounts.services.keys import KeyRing
from apps.accounts.services.sessions import sessions_end_signed_by

SIGNS_AFTER = timedelta(minutes=10)  # time to give every instance the new key before one signs with it
ROLLOUT_MAX = timedelta(days=1)  # how long an instance may run with the old ring and sign with an old key
NEW_KEY_BYTES = 48


class KeyRotationRefused(Exception):
    """The ring cannot be changed as requested, and was not. The message says what to do."""


@dataclass(frozen=True, kw_only=True)
class KeyRotation:
    """The result of a rotation.

    `kid` and `sign_from` are those of the new key; None if only sessions were ended. `value` is the new ring as JWT_KEYS holds
    it, and secret. `file` is where it was written; None if an operator has to set it. `ended` counts the sessions that ended.
    """

    kid: str | None = None
    sign_from: datetime | None = None
    dropped: tuple[str, ...] = ()
    value: str = field(default="", repr=False)
    file: Path | None = None
    ended: int = 0


def keys_rotate(
    *, now: datetime, file: Path | None = None, compromised: str | None = None, is_rehearsal: bool = False
) -> KeyRotation:
    """Create a key, drop those that nothing valid is signed with, and write the ring to ``file`` if given.

    A ``compromised`` key is dropped too, and the sessions whose tokens it signed end. If the ring no longer has it, only those
    sessions end: they may have started on an instance with the old ring. A rehearsal writes nothing, counts what would end, and
    discards its new key. Raise KeyRotationRefused.
    """
    entries = list(settings.TOKENS_KEYS)
    signed = Session.objects.filter(ended_at=None, signed_by=compromised)
    if compromised is None or compromised in {entry["kid"] for entry in entries}:
        rotation = _planned(entries, now=now, compromised=compromised, file=file and file.resolve())
    elif signed.exists():
        rotation = KeyRotation()
    else:
        known = ", ".join(entry["kid"] for entry in entries)
        raise KeyRotationRefused(
            f"No key of the ring has the kid {compromised!r}, and no active session is signed by one. The ring has {known}."
        )
    if is_rehearsal:
        return replace(rotation, ended=0 if compromised is None else signed.count())
    if file is not None and rotation.file is not None:
        with _file_held(file, entries=entries), transaction.atomic():
            _record(rotation, now=now, compromised=compromised)
            _file_replace(rotation.file, f"{rotation.value}\n")
    elif compromised is not None:
        _record(KeyRotation(), now=now, compromised=compromised)
    ended = 0 if compromised is None else sessions_end_signed_by(kid=compromised, now=now)
    return replace(rotation, ended=ended)


def _planned(
    entries: Sequence[Mapping[str, Any]], *, now: datetime, compromised: str | None, file: Path | None
) -> KeyRotation:
    """Create a key, and choose which of the others stay."""
    trusted = [entry for entry in entries if entry["kid"] != compromised]
    idle = _idle(trusted, now=now)
    kept = [entry for entry in trusted if entry["kid"] not in idle]
    has_signing_key = any(entry["sign_from"] <= now for entry in kept)
    new: dict[str, Any] = {
        "kid": f"{now:%Y-%m-%d}-{secrets.token_hex(3)}",
        "key": secrets.token_urlsafe(NEW_KEY_BYTES),
        "sign_from": (now + SIGNS_AFTER if has_signing_key else now).replace(microsecond=0),
    }
    return KeyRotation(
        kid=new["kid"],
        sign_from=new["sign_from"],
        dropped=tuple(entry["kid"] for entry in entries if entry not in kept),
        value=json.dumps([_written(entry) for entry in [*kept, new]], indent=None if file is None else 2),
        file=file,
    )


def _idle(entries: Sequence[Mapping[str, Any]], *, now: datetime) -> set[str]:
    """Return the kids that no valid token can have: a newer key has been signing for longer than any token lives."""
    lives = timedelta(seconds=max(settings.TOKENS_REFRESH_SECONDS, settings.TOKENS_ACCESS_SECONDS)) + ROLLOUT_MAX
    newest_first = KeyRing(entries).keys
    return {older.kid for newer, older in pairwise(newest_first) if newer.sign_from + lives <= now}


def _written(entry: Mapping[str, Any]) -> dict[str, str]:
    sign_from = entry["sign_from"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"kid": entry["kid"], "key": entry["key"], "sign_from": sign_from}


def _record(rotation: KeyRotation, *, now: datetime, compromised: str | None) -> None:
    detail: dict[str, Any] = {"made": rotation.kid, "dropped": list(rotation.dropped), "compromised": compromised}
    event_record(SecurityEventKind.KEYS_ROTATED, now=now, user_id=None, **detail)


@contextmanager
def _file_held(path: Path, *, entries: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Lock the file against other rotations; raise KeyRotationRefused if it has changed since this process read it."""
    with ExitStack() as held:
        try:
            fcntl.flock(held.enter_context(path.open(encoding="utf-8")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = [(entry["kid"], entry["key"]) for entry in json.loads(path.read_text(encoding="utf-8"))]
        except BlockingIOError as error:
            raise KeyRotationRefused(f"Another rotation is writing {path}. Run this command again later.") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise KeyRotationRefused(
                f"{path} no longer contains a valid ring ({type(error).__name__}). Correct the file first."
            ) from error
        if found != [(entry["kid"], entry["key"]) for entry in entries]:
            raise KeyRotationRefused(
                f"{path} has changed since this command started. Check the file, and run the command again."
            )
        yield


def _file_replace(path: Path, text: str) -> None:
    """Replace the file atomically, so that a reader finds either the old ring or the new one.

    Owner and group stay the same, and so does the mode, unless others can read the file: then only its owner can.
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
        raise KeyRotationRefused(
            f"{path} cannot be written ({error.strerror}), and was not changed. Run this command as the file's owner, with "
            "write access to its folder; or use --print, and store the printed value where the file comes from."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _folder_sync(folder: Path) -> None:
    """Sync the folder, so that the new file survives a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
