"""An upsert for any model: rows of a file become rows of a table, in a few statements per batch.

A statement gets its rows as one JSON document, which PostgreSQL splits (`json_to_recordset`): that is several times cheaper
here than a parameter, or a field of COPY, for each value, and needs no staging table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, cast

import orjson
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.db.models import NOT_PROVIDED, BinaryField, Field, Model, Q
from django.utils import timezone
from psycopg import sql

from apps.jobs.imports.rows import ImportRow, OnConflict, Outcome, Rejection

_Outcomes = dict[str, Outcome | Rejection]
_Record = dict[str, Any]  # values by attribute of the model (the id of a relation as `name_id`)


@dataclass(frozen=True, kw_only=True)
class ModelUpsert:
    """Store validated rows in a model with a key made in Python and the columns ``version`` and ``updated_at``.

    ``key``: the unique column that identifies a record, by the row's key if it has no value for it; None: every row is new.
    ``constants``: values for columns that files do not have, such as the owner. ``scope``: the records among which the key is
    unique. ``writable``: those of them that ``update`` may change. ``references``: for each relation, the rows that it may
    refer to. ``on_written`` is called with the ids of the records that were updated, if any record was written.
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
        records = {row.key: self._record(row) for row in rows if row.key not in outcomes}
        created = self._insert(records)
        outcomes |= dict.fromkeys(created, Outcome.CREATED)
        clashing = {key: record for key, record in records.items() if key not in outcomes}
        existing = self._existing(clashing) if clashing and on_conflict is not OnConflict.SKIP else {}
        updated: list[Any] = []
        if on_conflict is OnConflict.UPDATE and existing:
            outcomes |= self._update({key: record for key, record in clashing.items() if key in existing}, updated)
        outcomes |= {key: self._clash(key, on_conflict, existing) for key in clashing if key not in outcomes}
        if self.on_written is not None and (created or updated):
            self.on_written(*updated)
        return outcomes

    def _record(self, row: ImportRow) -> _Record:
        record = {f"{name}_id" if name in self.references else name: value for name, value in row.values.items()}
        if self.key:
            record.setdefault(self.key, row.key)
        return record

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

    def _insert(self, records: Mapping[str, _Record]) -> list[str]:
        """Insert the records that clash with none, and return their keys."""
        constants, computed = _defaults(self.model)
        constants |= self.constants
        new = [
            {**constants, **{name: compute() for name, compute in computed.items()}, **record}
            for record in records.values()
        ]
        if not new or _executed(_insert_statement(self.model), new) == len(new):
            return list(records)
        pk = self.model._meta.pk.attname
        stored = self.model._default_manager.filter(pk__in=[record[pk] for record in new])
        ids = set(stored.values_list("pk", flat=True))
        return [key for key, record in zip(records, new, strict=True) if record[pk] in ids]

    def _existing(self, records: Mapping[str, _Record]) -> dict[str, Any]:
        """Return the ids of the records that have these keys, by key."""
        if self.key is None:
            return {}
        there = self._with_keys(records).values_list(self.key, "pk")
        return {str(key): pk for key, pk in there}

    def _with_keys(self, records: Mapping[str, _Record]) -> Any:
        wanted = {f"{self.key}__in": [record[str(self.key)] for record in records.values()]}
        return self.model._default_manager.filter(self.scope, **wanted)

    def _update(self, records: Mapping[str, _Record], updated: list[Any]) -> _Outcomes:
        """Update the records that have these keys, and append their ids to ``updated``."""
        writable = self._with_keys(records).filter(self.writable).order_by("pk").select_for_update(of=("self",))
        ids = {str(key): pk for key, pk in writable.values_list(self.key, "pk")}
        outcomes: _Outcomes = {
            key: Rejection(f"/{self.key}", "permission", f"You may not change the record {key!r}.")
            for key in records.keys() - ids.keys()
        }
        pk = self.model._meta.pk.attname
        groups: dict[tuple[str, ...], list[_Record]] = {}  # rows may leave out different fields
        for key, value in ids.items():
            groups.setdefault(tuple(records[key]), []).append({**records[key], pk: value})
        saved = {record[pk] for names, group in groups.items() for record in self._save(names, group)}
        outcomes |= {key: Outcome.UPDATED for key, value in ids.items() if value in saved}
        updated += saved
        return outcomes

    def _save(self, names: tuple[str, ...], records: list[_Record]) -> list[_Record]:
        """Save all records at once, or one by one if another unique column clashes. Return those that were saved."""
        statement = _update_statement(self.model, names)
        try:
            with transaction.atomic():
                _executed(statement, records)
        except IntegrityError:
            return [record for record in records if self._save_one(statement, record)]
        return records

    @staticmethod
    def _save_one(statement: sql.Composed, record: _Record) -> bool:
        try:
            with transaction.atomic():
                _executed(statement, [record])
        except IntegrityError:
            return False
        return True

    def _clash(self, key: str, on_conflict: OnConflict, existing: Mapping[str, Any]) -> Outcome | Rejection:
        if on_conflict is OnConflict.SKIP:
            return Outcome.SKIPPED
        if on_conflict is OnConflict.ERROR and key in existing:
            return Rejection(f"/{self.key}", "conflict", f"A record with the {self.key} {key!r} exists.")
        return Rejection("", "conflict", "Another record already has one of this row's unique values.")


def _executed(statement: sql.Composed, records: Sequence[_Record]) -> int:
    """Execute a statement with these records, and return the number of rows written."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [orjson.dumps(records, default=_plain).decode()])
        return int(cursor.rowcount)


def _plain(value: object) -> str:
    """Return the text of a value that orjson does not know."""
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    raise TypeError(f"ModelUpsert cannot store a value of the type {type(value).__name__}.")


def _columns(model: type[Model]) -> "dict[str, Field[Any, Any]]":
    """Return the fields that have a column of their own to write, by attribute."""
    fields = cast("Iterable[Field[Any, Any]]", model._meta.concrete_fields)
    columns = {one.attname: one for one in fields if not one.generated}
    for one in columns.values():
        prepares = (type(one).get_prep_value, type(one).get_db_prep_value, type(one).get_db_prep_save)
        is_own = any(not method.__module__.startswith("django.") for method in prepares)
        by_database = not one.has_default() and one.db_default is not NOT_PROVIDED
        if is_own or by_database or isinstance(one, BinaryField):
            raise ImproperlyConfigured(
                f"ModelUpsert cannot store {one}: its value is not what it is in JSON. Write an Upsert."
            )
    return columns


def _defaults(model: type[Model]) -> tuple[_Record, dict[str, Callable[[], Any]]]:
    """Return the values of new records: those that are the same for all, and functions for the others."""
    constants: _Record = {}
    computed: dict[str, Callable[[], Any]] = {}
    for name, one in _columns(model).items():
        if getattr(one, "auto_now", False) or getattr(one, "auto_now_add", False) or one.default is timezone.now:
            constants[name] = timezone.now()
        elif one.has_default() and callable(one.default) and one.default not in (list, dict):
            computed[name] = one.default
        else:
            constants[name] = one.get_default()
    return constants, computed


@cache
def _insert_statement(model: type[Model]) -> sql.Composed:
    columns = _columns(model)
    return sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {values} FROM json_to_recordset(%s::json) AS given ({types})"
        " ON CONFLICT DO NOTHING"
    ).format(
        table=sql.Identifier(model._meta.db_table),
        names=sql.SQL(", ").join(sql.Identifier(str(one.column)) for one in columns.values()),
        values=sql.SQL(", ").join(sql.Identifier("given", name) for name in columns),
        types=_types(columns),
    )


@cache
def _update_statement(model: type[Model], names: tuple[str, ...]) -> sql.Composed:
    """Return the statement that sets these attributes, and counts a version."""
    pk = model._meta.pk
    columns = {name: one for name, one in _columns(model).items() if name in names}
    return sql.SQL(
        "UPDATE {table} AS record SET {values}, version = record.version + 1, updated_at = statement_timestamp()"
        " FROM json_to_recordset(%s::json) AS given ({types}) WHERE record.{pk} = given.{id}"
    ).format(
        table=sql.Identifier(model._meta.db_table),
        values=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(str(one.column)), sql.Identifier("given", name))
            for name, one in columns.items()
        ),
        types=_types({**columns, pk.attname: pk}),
        pk=sql.Identifier(str(pk.column)),
        id=sql.Identifier(pk.attname),
    )


def _types(columns: "Mapping[str, Field[Any, Any]]") -> sql.Composed:
    """Return the definition of the columns of `json_to_recordset`. Names and types are the model's, never input."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(cast("Any", one.db_type(connection))))
        for name, one in columns.items()
    )
