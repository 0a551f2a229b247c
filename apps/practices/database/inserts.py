"""Inserting a row whose unique values somebody else may have, which is an answer and no error."""

from django.db import models, router, transaction


def row_insert(instance: models.Model) -> bool:
    """Insert the row of ``instance``, and return whether that was possible: False where a unique value is taken.

    By ``ON CONFLICT DO NOTHING``: an INSERT that fails would leave the key, such as an address, in the server's log. The
    primary key is made in Python, and no column has a default of the database's, which would not be read back.
    """
    manager = type(instance)._base_manager.using(router.db_for_write(type(instance), instance=instance))
    with transaction.atomic(using=manager.db, savepoint=False):
        manager.bulk_create([instance], ignore_conflicts=True)
        return manager.filter(pk=instance.pk).exists()
