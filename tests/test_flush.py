"""Tests that commit leave nothing behind, whichever way their rows are deleted."""

from __future__ import annotations

from threading import Thread

import psycopg
import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.apps.accounts.factories import user_create
from tests.clusters import path_replaced
from tests.processes import wait_until
from tests.sample.models import Note
from tools.stack import Stack

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("rows", "way"), [(3, "DELETE"), (4_000, "TRUNCATE")])
def test_every_table_is_emptied(rows: int, way: str) -> None:
    owner = user_create()
    Note.objects.bulk_create(Note(owner=owner, title=f"note {number}", body="") for number in range(rows))
    with CaptureQueriesContext(connection) as queries:
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
    assert way in queries[-2]["sql"] + queries[-1]["sql"]
    models = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    assert [model for model in models if model._default_manager.exists()] == []


def test_flush_waits_for_a_writer(stack: Stack) -> None:
    """As TRUNCATE does: what is committed during the flush would be met by the next test."""
    url = path_replaced(stack.state.urls["DATABASE_URL"], str(connection.settings_dict["NAME"]))
    waiting = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as observer:
        writer.execute("INSERT INTO django_session VALUES ('late', '', now())")
        flushing = Thread(target=flush)
        flushing.start()
        wait_until(lambda: observer.execute(waiting).fetchone(), seconds=20, what="the flush to wait")
        writer.commit()
        flushing.join(20)
    assert not Session.objects.exists()


def flush() -> None:
    call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
    connection.close()
