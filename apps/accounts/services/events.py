"""Record security events: what happened to an account, as a row and as a log line."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.accounts.models import DEVICE_MAX_LENGTH, SecurityEvent, SecurityEventKind
from apps.practices.mechanisms.ids import current_request_id
from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.proxies import address_shown

logger = structlog.get_logger("security")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a request came from: the User-Agent and the client's address. Empty for a command or a job."""

    device: str = ""
    address: str | None = None

    @property
    def device_stored(self) -> str:
        """Return the device, cut to the length of its column; compare this with a stored one."""
        return self.device[:DEVICE_MAX_LENGTH]


NOWHERE = Origin()


def event_record(
    kind: SecurityEventKind,
    *,
    now: datetime,
    user_id: UUID | None,
    origin: Origin = NOWHERE,
    session_id: UUID | None = None,
    **detail: Any,
) -> None:
    """Store an event in the caller's transaction, and log and count it once that has committed.

    ``detail`` can be encoded as JSON and holds no secrets. Row and line show the address as LOG_ADDRESSES requires.
    """
    address = address_shown(origin.address, settings.OBSERVABILITY_ADDRESSES) if origin.address else None
    event = SecurityEvent(
        kind=kind,
        created_at=now,
        user_id=user_id,
        session_id=session_id,
        address=address or "",
        device=origin.device_stored,
        request_id=(current_request_id() or "")[:64],
        detail=detail,
    )
    event.save(force_insert=True)
    line = partial(
        logger.info,
        "security_event",
        kind=kind.value,
        user_id=str(user_id) if user_id else None,
        session_id=str(session_id) if session_id else None,
        address=address,
        device=origin.device_stored,
        **detail,
    )
    transaction.on_commit(line, robust=True)
    transaction.on_commit(partial(count, "security_events", kind=kind.value), robust=True)
