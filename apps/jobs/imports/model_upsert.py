"""An upsert for any model: rows of a file become rows of a table, in a few statements per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.utils import timezone

from apps.jobs.imports.rows import ImportRow, OnConflict, Outcome, Rejection

_Outcomes = dict[str, Outcome | Rejection]


@dataclass(frozen=True, kw_only=True)
class ModelUpsert:
    """Store validated rows in a model with the columns ``version`` and ``updated_at``.

    ``key``: the unique column that identifies a record; None: every row is new. ``constants``: values for columns that files
    do not have, such as the owner. ``scope``: the records among which the key is unique. ``writable``: those of them that
    ``update`` may change. ``references``: for each relation, the rows that it may refer to. ``on_written`` is called with the
    ids of the records written.
    """

    model: type[Model]
    key: str | None
    constants: Mapping[str, Any] = field(default_factory=dict)
    scope: Q = field(default_factory=Q)
    writable: Q = field(default_factory=Q)
    references: Mapping[str, Any] = field(default_factory=dict)
    on_written: Callable[..., None] | None = None

    def __call__(self, *, rows: Sequence[ImportRow], on_conflict: OnConflict) -> Mapping[str, Outcome | Rejection]:
        """Store rows of different keys, and return an outcome for each key."""
        outcomes = self._reject_dangling(rows)
        rows = [row for row in rows if row.key not in outcomes]
        new = {row.key: self.model(**self.constants, **self._columns(row)) for row in rows}
        manager = self.model._default_manager
        manager.bulk_create(new.values(), ignore_conflicts=True)
        written = set(manager.filter(pk__in=[record.pk for record in new.values()]).values_list("pk", flat=True))
        outcomes |= {key: Outcome.CREATED for key, record in new.items() if record.pk in written}
        clashing = [row for row in rows if row.key not in outcomes]
        if on_conflict is OnConflict.UPDATE and self.key and clashing:
            outcomes |= self._update(clashing, written)
        outcomes |= {row.key: self._clash(on_conflict) for row in clashing if row.key not in outcomes}
        if self.on_written is not None and written:
            self.on_written(*written)
        return outcomes

    def _columns(self, row: ImportRow) -> dict[str, Any]:
        """Return the row's values by column. The value of a relation is an id."""
        return {f"{name}_id" if name in self.references else name: value for name, value in row.values.items()}

    def _reject_dangling(self, rows: Iterable[ImportRow]) -> _Outcomes:
        """Reject rows that refer to records that do not exist, with one query per relation."""
        rejected: _Outcomes = {}
        for name, targets in self.references.items():
            ids = {row.values[name] for row in rows if row.values[name] is not None}
            existing = set(targets.filter(pk__in=ids).values_list("pk", flat=True))
            for row in rows:
                value = row.values[name]
                if value is not None and value not in existing:
                    rejected[row.key] = Rejection(f"/{name}", "does_not_exist", f"No record has the id {value}.")
        return rejected

    def _update(self, rows: Sequence[ImportRow], written: set[Any]) -> _Outcomes:
        """Update the records that have the rows' keys, and add their ids to ``written``."""
        key = str(self.key)
        existing = self.model._default_manager.filter(self.scope, **{f"{key}__in": [row.values[key] for row in rows]})
        writable = existing.filter(self.writable).order_by("pk").select_for_update(of=("self",))
        records = {str(getattr(record, key)): record for record in writable}
        forbidden = {str(value) for value in existing.values_list(key, flat=True)} - records.keys()
        outcomes: _Outcomes = {
            row.key: Rejection(f"/{key}", "permission", f"You may not change the record {row.key!r}.")
            for row in rows
            if row.key in forbidden
        }
        pairs = [(row, records[row.key]) for row in rows if row.key in records]
        for row, record in self._save(pairs):
            outcomes[row.key] = Outcome.UPDATED
            written.add(record.pk)
        return outcomes

    def _save(self, pairs: Sequence[tuple[ImportRow, Any]]) -> Iterable[tuple[ImportRow, Any]]:
        """Save all records at once, or one by one if another unique column clashes. Return the pairs that were saved."""
        if not pairs:
            return pairs
        now = timezone.now()
        fields = [*pairs[0][0].values, "version", "updated_at"]
        for row, record in pairs:
            for name, value in self._columns(row).items():
                setattr(record, name, value)
            record.version += 1
            record.updated_at = now
        try:
            with transaction.atomic():
                self.model._default_manager.bulk_update([record for _, record in pairs], fields)
        except IntegrityError:
            return [pair for pair in pairs if self._save_one(pair[1], fields)]
        return pairs

    @staticmethod
    def _save_one(record: Any, fields: Sequence[str]) -> bool:
        try:
            with transaction.atomic():
                record.save(update_fields=fields)
        except IntegrityError:
            return False
        return True

    def _clash(self, on_conflict: OnConflict) -> Outcome | Rejection:
        if on_conflict is OnConflict.SKIP:
            return Outcome.SKIPPED
        return Rejection("", "conflict", "Another record already has one of this row's unique values.")
