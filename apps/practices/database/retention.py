"""Data's end: what is kept for how long, declared beside the models, removed in small transactions by `manage.py prune`.

Each app says it in its `retention` module, which `prune` finds in every installed app::

    Retention(
        name="sessions",
        days=lambda: settings.RETENTION_SESSIONS,
        rows=lambda before: [Session.objects.filter(ended_at__lt=before).order_by("ended_at")],
    )
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils.module_loading import autodiscover_modules

BATCH = 500  # rows a transaction: locks are held, and replicas busy, for moments
PARTS = 64  # of what may be a mebibyte each


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What goes after how many days. ``rows`` are querysets of what is older than a time, each in the order of an index.

    ``parts`` gives what hangs on some of these rows, where that is much: it goes before them, in batches of its own. ``batch``:
    rows a transaction.
    """

    name: str
    days: Callable[[], float]
    rows: Callable[[datetime], Sequence[QuerySet[Any]]]
    parts: Callable[[QuerySet[Any]], QuerySet[Any]] | None = None
    batch: int = BATCH

    declared: ClassVar[dict[str, Retention]] = {}

    def __post_init__(self) -> None:
        if self.declared.setdefault(self.name, self) is not self:
            raise ValueError(f"two retentions are named {self.name!r}")

    def before(self, now: datetime) -> datetime:
        """The time before which rows go."""
        return now - timedelta(days=self.days())

    def count(self, *, now: datetime) -> int:
        """How many rows would go; one that is due for two reasons counts once."""
        first, *others = self.rows(self.before(now))
        return first.order_by().union(*(rows.order_by() for rows in others)).count() if others else first.count()

    def prune(self, *, now: datetime, batch: int | None = None) -> Iterator[int]:
        """Remove the rows, one transaction a batch, and give each batch's number. What another prune holds is left to it."""
        batch = batch or self.batch
        for rows in self.rows(self.before(now)):
            while True:
                if self.parts is not None:
                    _parts_remove(self.parts(rows.filter(pk__in=_keys(rows, limit=batch))))
                removed = _batch_remove(rows, limit=batch)
                if not removed:
                    break
                yield removed


def retentions() -> list[Retention]:
    """This function will return what every installed app declares, by name."""
    autodiscover_modules("retention")
    return [Retention.declared[name] for name in sorted(Retention.declared)]


def _keys(rows: QuerySet[Any], *, limit: int) -> list[Any]:
    return list(rows.values_list("pk", flat=True)[:limit])


def _parts_remove(parts: QuerySet[Any]) -> None:
    """Remove all parts, PARTS a transaction; those whose row is no longer old by then stay."""
    while keys := _keys(parts, limit=PARTS):
        parts.filter(pk__in=keys).delete()


def _batch_remove(rows: QuerySet[Any], *, limit: int) -> int:
    with transaction.atomic():
        keys = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)
