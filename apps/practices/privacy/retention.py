"""Retention: how long rows are kept. ``manage.py prune`` deletes older ones, in small transactions.

Each app declares its own in its ``retention`` module, which is imported from every installed app::

    Retention(
        name="sessions",
        days=lambda: settings.RETENTION_SESSIONS,
        rows=rows_before(Session, "ended_at"),
    )
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils.module_loading import autodiscover_modules

BATCH = 500  # rows in one transaction, so that it holds its locks only briefly
PARTS = 64  # the same for rows of up to 1 MiB each


@dataclass(frozen=True, kw_only=True)
class Retention:
    """A rule: rows are deleted after ``days``. ``rows(time)`` are querysets of the rows older than that, each in index order.

    ``parts(rows)`` are the rows that belong to these, where they are many or large: they are deleted first, in batches of
    their own. ``batch`` is the number of rows in one transaction. Raises ``ValueError`` for a name used twice.
    """

    name: str
    days: Callable[[], float]
    rows: Callable[[datetime], Sequence[QuerySet[Any]]]
    parts: Callable[[QuerySet[Any]], QuerySet[Any]] | None = None
    batch: int = BATCH

    declared: ClassVar[dict[str, "Retention"]] = {}

    def __post_init__(self) -> None:
        if self.declared.setdefault(self.name, self) is not self:
            raise ValueError(f"Retention {self.name!r} is declared twice")

    def cutoff(self, now: datetime) -> datetime:
        return now - timedelta(days=self.days())

    def count(self, *, now: datetime) -> int:
        """Return how many rows would be deleted; a row in several querysets counts once."""
        first, *others = self.rows(self.cutoff(now))
        return first.order_by().union(*(rows.order_by() for rows in others)).count() if others else first.count()

    def prune(self, *, now: datetime, batch: int | None = None) -> Iterator[int]:
        """Delete the rows in batches, each in a transaction of its own, and yield how many each batch had.

        Rows that another transaction has locked are skipped, so that two prunes do not wait for each other.
        """
        batch = batch or self.batch
        for rows in self.rows(self.cutoff(now)):
            while True:
                if self.parts is not None:
                    _parts_delete(self.parts(rows.filter(pk__in=_keys(rows, limit=batch))))
                deleted = _batch_delete(rows, limit=batch)
                if not deleted:
                    break
                yield deleted


def rows_before(model: type[Model], column: str) -> Callable[[datetime], Sequence[QuerySet[Any]]]:
    """Return the ``rows`` of a rule that keeps rows by one indexed time of theirs."""
    return lambda before: [model._default_manager.filter(**{f"{column}__lt": before}).order_by(column)]


def retentions() -> list[Retention]:
    """Return the declarations of every installed app, sorted by name."""
    autodiscover_modules("retention")
    return [Retention.declared[name] for name in sorted(Retention.declared)]


def _keys(rows: QuerySet[Any], *, limit: int) -> list[Any]:
    return list(rows.values_list("pk", flat=True)[:limit])


def _parts_delete(parts: QuerySet[Any]) -> None:
    """Delete all parts, PARTS in one transaction. Parts whose row is no longer due by then stay."""
    while keys := _keys(parts, limit=PARTS):
        parts.filter(pk__in=keys).delete()


def _batch_delete(rows: QuerySet[Any], *, limit: int) -> int:
    with transaction.atomic():
        keys = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)
