"""Rows of a file as rows of a model, by a few statements a batch: the upsert of an import that needs no SQL of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.utils import timezone

from apps.jobs.imports.outcomes import OnConflict, Outcome, conflict
from apps.jobs.imports.rows import ImportRow, Rejection

_Outcomes = dict[str, Outcome | Rejection]


@dataclass(frozen=True, kw_only=True)
class ModelRows:
    """Stores validated rows. The model counts versions in ``version`` and dates writes in ``updated_at``.

    ``key``: the unique column that tells which record a row is; None: every row is a new one. ``given``: columns that no file
    has, such as the owner. ``among``: the records that the key is unique among. ``may_change``: those of them that ``update``
    may write to. ``references``: a relation's name to the rows that it may name. ``changed`` gets the ids of what was written.
    """

    model: type[Model]
    key: str | None
    given: Mapping[str, Any] = field(default_factory=dict)
    among: Q = field(default_factory=Q)
    may_change: Q = field(default_factory=Q)
    references: Mapping[str, Any] = field(default_factory=dict)
    changed: Callable[..., None] | None = None

    def __call__(self, *, rows: Sequence[ImportRow], on_conflict: OnConflict) -> Mapping[str, Outcome | Rejection]:
        """Store rows of different keys, and say by key what became of each."""
        outcomes = self._dangling(rows)
        rows = [row for row in rows if row.key not in outcomes]
        made = {row.key: self.model(**self.given, **self._columns(row)) for row in rows}
        manager = self.model._default_manager
        manager.bulk_create(made.values(), ignore_conflicts=True)
        stored = set(manager.filter(pk__in=[one.pk for one in made.values()]).values_list("pk", flat=True))
        outcomes |= {key: Outcome.CREATED for key, one in made.items() if one.pk in stored}
        clashing = [row for row in rows if row.key not in outcomes]
        if on_conflict is OnConflict.UPDATE and self.key and clashing:
            outcomes |= self._update(clashing, stored)
        outcomes |= {row.key: self._clash(on_conflict) for row in clashing if row.key not in outcomes}
        if self.changed is not None and stored:
            self.changed(*stored)
        return outcomes

    def _columns(self, row: ImportRow) -> dict[str, Any]:
        """Give the row's values by column: a relation is the id that the file names."""
        return {f"{name}_id" if name in self.references else name: value for name, value in row.values.items()}

    def _dangling(self, rows: Iterable[ImportRow]) -> _Outcomes:
        """Reject the rows that refer to what is not there, by one query a relation."""
        found: _Outcomes = {}
        for name, targets in self.references.items():
            asked = {row.values[name] for row in rows if row.values[name] is not None}
            there = set(targets.filter(pk__in=asked).values_list("pk", flat=True))
            for row in rows:
                value = row.values[name]
                if value is not None and value not in there:
                    found[row.key] = Rejection(f"/{name}", "does_not_exist", f"There is none with the id {value}.")
        return found

    def _update(self, rows: Sequence[ImportRow], stored: set[Any]) -> _Outcomes:
        """Write to the records that have the rows' keys; ``stored`` gets their ids."""
        key = str(self.key)
        named = Q(**{f"{key}__in": [row.values[key] for row in rows]})
        there = self.model._default_manager.filter(self.among, named)
        mine = there.filter(self.may_change).order_by("pk").select_for_update(of=("self",))
        records = {str(getattr(record, key)): record for record in mine}
        others = {str(value) for value in there.values_list(key, flat=True)} - records.keys()
        outcomes: _Outcomes = {
            row.key: Rejection(f"/{key}", "permission", f"The record {row.key!r} is not yours to change.")
            for row in rows
            if row.key in others
        }
        found = [(row, records[row.key]) for row in rows if row.key in records]
        for row, record in self._written(found):
            outcomes[row.key] = Outcome.UPDATED
            stored.add(record.pk)
        return outcomes

    def _written(self, found: Sequence[tuple[ImportRow, Any]]) -> Iterable[tuple[ImportRow, Any]]:
        """Write all records at once; one by one when another of their columns clashes, and give those that were written."""
        if not found:
            return found
        now = timezone.now()
        fields = [*found[0][0].values, "version", "updated_at"]
        for row, record in found:
            for name, value in self._columns(row).items():
                setattr(record, name, value)
            record.version += 1
            record.updated_at = now
        try:
            with transaction.atomic():
                self.model._default_manager.bulk_update([record for _, record in found], fields)
        except IntegrityError:
            return [pair for pair in found if self._fits(pair[1], fields)]
        return found

    @staticmethod
    def _fits(record: Any, fields: Sequence[str]) -> bool:
        try:
            with transaction.atomic():
                record.save(update_fields=fields)
        except IntegrityError:
            return False
        return True

    def _clash(self, on_conflict: OnConflict) -> Outcome | Rejection:
        if on_conflict is OnConflict.SKIP:
            return Outcome.SKIPPED
        return conflict("Another record has one of the values that only one may have.")
