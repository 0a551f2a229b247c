"""Optimistic concurrency: a row's ``version`` counts its writes, and a write can name the one it saw."""

from typing import Any

from django.db import models, router, transaction
from django.utils import timezone

from apps.practices.errors import NotFound, PreconditionFailed


def row_insert(instance: models.Model) -> bool:
    """Insert the row of ``instance``, and return whether that was possible: False where a unique value is taken.

    By ``ON CONFLICT DO NOTHING``: an INSERT that fails would leave the key, such as an address, in the server's log. The
    primary key is made in Python, and no column has a default of the database's, which would not be read back.
    """
    manager = type(instance)._base_manager.using(router.db_for_write(type(instance), instance=instance))
    with transaction.atomic(using=manager.db, savepoint=False):
        manager.bulk_create([instance], ignore_conflicts=True)
        return manager.filter(pk=instance.pk).exists()


def version_update(*, instance: models.Model, expected: int | None = None, **values: Any) -> None:
    """Write ``values`` to the row of ``instance``, count its version up, and set both on ``instance``.

    ``expected`` is the version that the client saw (If-Match, RFC 9110 section 13.1.1); None writes
    whatever the version is. It is compared in the UPDATE itself, so that of two writers who saw the same
    version exactly one succeeds. Columns with ``auto_now`` are set too. The row stays locked until the
    surrounding transaction ends.

    Raises ``PreconditionFailed`` (412) when the row has another version, ``NotFound`` (404) when it is gone.
    """
    model = type(instance)
    database = router.db_for_write(model, instance=instance)
    rows = model._base_manager.using(database).filter(pk=instance.pk)
    changed = {**_automatic(model), **values}
    with transaction.atomic(using=database, savepoint=False):
        matching = rows if expected is None else rows.filter(version=expected)
        written = matching.update(**changed, version=models.F("version") + 1)
        version = rows.values_list("version", flat=True).get() if written and expected is None else (expected or 0) + 1
    if not written:
        raise _refusal(rows)
    for name, value in {**changed, "version": version}.items():
        setattr(instance, name, value)


def version_delete(*, instance: models.Model, expected: int | None = None) -> None:
    """Delete the row of ``instance``, provided that it still has the version ``expected`` (None: any).

    Rows that refer to it go, or refuse, as their ``on_delete`` says. Raises as ``version_update`` does.
    """
    model = type(instance)
    database = router.db_for_write(model, instance=instance)
    rows = model._base_manager.using(database).filter(pk=instance.pk)
    with transaction.atomic(using=database, savepoint=False):
        matching = rows if expected is None else rows.filter(version=expected)
        found = bool(matching.select_for_update().values_list("pk", flat=True))
        if found:
            rows.delete()
    if not found:
        raise _refusal(rows)


def _automatic(model: type[models.Model]) -> dict[str, Any]:
    """Give the columns that ``save()`` would have stamped with the time of the write."""
    return {
        field.attname: timezone.now() if isinstance(field, models.DateTimeField) else timezone.localdate()
        for field in model._meta.concrete_fields
        if isinstance(field, models.DateField) and field.auto_now
    }


def _refusal(rows: models.QuerySet[models.Model]) -> PreconditionFailed | NotFound:
    """Say why no row matched: another version, or no row at all."""
    if rows.exists():
        return PreconditionFailed("The resource has changed since the version that If-Match names.")
    return NotFound()
