"""Mails about alerts to ALERT_EMAILS: one when an alert fires, at most one an hour for each, and one when it ends."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse

from apps.accounts.services.mails import mail_deliver
from apps.jobs.services import job_submit
from apps.operations.alerts.table import ALERTS, Alert, Firing
from apps.operations.models import AlertState

KIND = "operations.alert_mail"
PAUSE = timedelta(hours=1)  # between two mails that say that an alert fires
UNKNOWN = frozenset({"MetricsPartial", "DatabaseUnread"})  # while one of them holds, others may hold unseen
logger = structlog.get_logger(__name__)


def alerts_record(found: Iterable[Firing], *, now: datetime) -> int:
    """Store which alerts hold, and submit the mails that are due, in the caller's transaction; return their number."""
    holding = {one.alert.name: one for one in found}
    AlertState.objects.bulk_create([AlertState(name=alert.name) for alert in ALERTS], ignore_conflicts=True)
    states = {state.name: state for state in AlertState.objects.select_for_update().order_by("name")}
    mails = 0
    for alert in ALERTS:
        state, held = states[alert.name], holding.get(alert.name)
        if held is not None:
            mails += _holds(state, held, now=now)
        elif state.since is not None and not UNKNOWN & holding.keys():
            mails += _ends(state, alert, now=now)
    return mails


def _holds(state: AlertState, held: Firing, *, now: datetime) -> bool:
    """Store that the condition holds. Submit a mail, and return True, if it has for long enough and none was sent lately."""
    state.since = state.since or now
    is_quiet = state.mailed_at is None or now - state.mailed_at >= PAUSE
    is_due = not state.is_mailed and is_quiet and now - state.since >= timedelta(minutes=held.alert.minutes)
    if is_due:
        state.is_mailed, state.mailed_at = True, now
        _submit(held.alert, is_firing=True, at=state.since, details=held.details)
    state.save()
    return is_due


def _ends(state: AlertState, alert: Alert, *, now: datetime) -> bool:
    """Store that the condition has ended. Submit a mail, and return True, if one had said that it fires."""
    was_mailed, state.since, state.is_mailed = state.is_mailed, None, False
    if was_mailed:
        _submit(alert, is_firing=False, at=now, details="")
    state.save()
    return was_mailed


def _submit(alert: Alert, *, is_firing: bool, at: datetime, details: str) -> None:
    logger.warning("alert_fires" if is_firing else "alert_ended", alert=alert.name, details=details)
    parameters = {"alert": alert.name, "is_firing": is_firing, "at": at.isoformat(), "details": details[:1000]}
    job_submit(kind=KIND, owner=None, parameters=parameters)


def alert_mail_send(*, job_id: UUID, alert: str, is_firing: bool, at: datetime, details: str) -> None:
    """Write the mail and send it; the same Message-ID identifies a repetition. Do nothing if no address is set any more."""
    known = next((one for one in ALERTS if one.name == alert), None)
    if known is None or not settings.OBSERVABILITY_ALERT_EMAILS:
        return
    verb, when = ("fires", "Since") if is_firing else ("has ended", "At")
    page = settings.PUBLIC_URL.rstrip("/")
    lines = [
        f"{known.summary}" if is_firing else f"This no longer holds: {known.summary}",
        "",
        f"Severity: {known.severity}",
        *([f"Value: {details}"] if details else []),
        f"{when}: {at:%Y-%m-%d %H:%M:%S} UTC",
        "",
        f"The operations page: {page}{reverse('operations')}",
        f"What to do: {page}{reverse('runbook')}#{known.anchor}",
    ]
    mail_deliver(
        EmailMessage(
            subject=f"[{settings.SITE_NAME}] {known.title}: {verb}",
            body="\n".join(lines) + "\n",
            to=settings.OBSERVABILITY_ALERT_EMAILS,
            headers={
                "Message-ID": f"<{job_id}@{urlsplit(settings.PUBLIC_URL).hostname}>",
                "Auto-Submitted": "auto-generated",  # RFC 3834: send no absence notice in reply
            },
        )
    )
