"""Optimistic concurrency inside a transaction of the caller's."""

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.practices.database.versions import version_delete, version_update
from apps.practices.errors import PreconditionFailed
from tests.sample.services import note_create


@pytest.mark.django_db(transaction=True)
def test_a_refusal_leaves_the_transaction_around_it_usable() -> None:
    note = note_create(owner=User.objects.create(email="owner@example.com"), title="a")
    with transaction.atomic():
        with pytest.raises(PreconditionFailed):
            version_update(instance=note, expected=9, title="b")
        with pytest.raises(PreconditionFailed):
            version_delete(instance=note, expected=9)
        version_update(instance=note, expected=1, title="c")
    note.refresh_from_db()
    assert note.title == "c"
