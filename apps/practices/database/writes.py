"""Writes that can lose a race: inserts of unique values, and updates of one version (optimistic concurrency)."""

from typing import Any

from django.db import models, router, transaction
from django.utils import timezone

from apps.practices.errors import NotFound, PreconditionFailed


def row_insert(instance: models.Model) -> bool:
    """Insert ``instance`` with ``ON CONFLICT DO NOTHING``, and return False if a unique value is already in use.

    A failing INSERT would write the value, such as an e-mail address, to the server's log. The primary key must be generated
    in Python, and defaults of the database (``db_default``) are not read back.
    """
    manager = type(instance)._base_manager.using(router.db_for_write(type(instance), instance=instance))
    with transaction.atomic(using=manager.db, savepoint=False):
        manager.bulk_create([instance], ignore_conflicts=True)
        return manager.filter(pk=instance.pk).exists()


def version_update(*, instance: models.Model, expected: int | None = None, **values: Any) -> None:
    """Write ``values`` and an incremented version to the row of ``instance``, and set both on ``instance``.

    ``expected`` is the version that the client has seen (If-Match, RFC 9110 section 13.1.1), None for any. The UPDATE itself
    compares it, so that only one of two concurrent writers succeeds. Columns with ``auto_now`` are set too. The row stays
    locked until the surrounding transaction ends.

    Raises ``PreconditionFailed`` (412) for another version, ``NotFound`` (404) if the row does not exist.
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
    """Delete the row of ``instance`` if it has the version ``expected`` (None: any).

    ``on_delete`` applies to rows that refer to it. Raises the same exceptions as ``version_update``.
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
    """Return the values of ``auto_now`` columns, which ``save()`` would set."""
    return {
        field.attname: timezone.now() if isinstance(field, models.DateTimeField) else timezone.localdate()
        for field in model._meta.concrete_fields
        if isinstance(field, models.DateField) and field.auto_now
    }


def _refusal(rows: models.QuerySet[models.Model]) -> PreconditionFailed | NotFound:
    """Return why no row matched: another version, or no row."""
    if rows.exists():
        return PreconditionFailed(
            "The resource has changed since the version in If-Match. Read it again and repeat the request."
        )
    return NotFound()
