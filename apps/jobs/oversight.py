"""Reads of the ledger for operators: everybody's jobs, what waits, and who works."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.db.models.functions import Now

from apps.jobs.models import Job


def jobs_chosen(
    *,
    ids: Sequence[UUID] = (),
    states: Sequence[str] = (),
    kind: str | None = None,
    owner: AbstractBaseUser | None = None,
    older: timedelta | None = None,
) -> QuerySet[Job]:
    """Give the jobs that meet every condition, newest first; ``older`` is the least time since the submission."""
    conditions: dict[str, Any] = {}
    if ids:
        conditions["pk__in"] = list(ids)
    if states:
        conditions["state__in"] = list(states)
    if kind is not None:
        conditions["kind"] = kind
    if owner is not None:
        conditions["owner_id"] = owner.pk
    if older is not None:
        conditions["created_at__lte"] = Now() - older
    return Job.objects.filter(**conditions).order_by("-created_at", "-id")


def owner_named(email: str) -> AbstractBaseUser | None:
    """Give the account with an e-mail address, however it is written; None when there is none."""
    users = get_user_model()._default_manager
    try:
        return users.get_by_natural_key(email)
    except get_user_model().DoesNotExist:
        return None
