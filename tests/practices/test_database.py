"""database: keys, versions, N+1, the bounds of each kind of process, and the system checks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import override_settings
from django.urls import path
from django.utils import timezone
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from apps.accounts.models import User
from apps.practices.database.keys import uuid7, uuid7_floor
from apps.practices.database.writes import version_delete, version_update
from apps.practices.errors import NotFound, PreconditionFailed
from tests.problems import assert_problem
from tests.races import at_once
from tests.sample.models import Note
from tests.sample.services import note_create


class EachOwner(APIView):
    """Loads owners one by one, which tests must detect."""

    permission_classes = [AllowAny]

    def get(self, request: Any) -> Response:
        return Response([note.owner.email for note in Note.objects.all()])


urlpatterns = [path("api/v1/each", EachOwner.as_view())]


@pytest.fixture
def note(db: None) -> Note:
    return note_create(owner=User.objects.create(email="owner@example.com"), title="one")


# --- keys and versions


def test_keys_sort_by_time() -> None:
    keys = [uuid7() for _ in range(2_000)]
    assert keys == sorted(keys)
    assert {key.version for key in keys} == {7}
    now = timezone.now()
    assert uuid7_floor(now - timedelta(seconds=60)) < keys[0] < keys[-1] < uuid7_floor(now + timedelta(seconds=60))


def test_updates_increment_the_version(note: Note) -> None:
    before = note.updated_at
    version_update(instance=note, expected=1, title="two")
    assert (note.version, note.title) == (2, "two")
    version_update(instance=note, expected=None, title="three")
    assert note.version == 3
    stored = Note.objects.get()
    assert (stored.version, stored.title) == (3, "three")
    assert before < stored.updated_at == note.updated_at


def test_writes_of_other_versions_are_refused(note: Note) -> None:
    with pytest.raises(PreconditionFailed):
        version_update(instance=note, expected=7, title="x")
    with pytest.raises(PreconditionFailed):
        version_delete(instance=note, expected=7)
    assert Note.objects.get().title == "one"
    version_delete(instance=note, expected=1)
    assert not Note.objects.exists()
    with pytest.raises(NotFound):
        version_update(instance=note, title="x")
    with pytest.raises(NotFound):
        version_delete(instance=note)


@pytest.mark.django_db(transaction=True)
def test_one_of_concurrent_writers_succeeds() -> None:
    note = note_create(owner=User.objects.create(email="owner@example.com"), title="one")
    copies = [Note.objects.get(pk=note.pk) for _ in range(8)]

    def write(number: int) -> str:
        try:
            version_update(instance=copies[number], expected=1, title=f"by {number}")
        except PreconditionFailed:
            return "refused"
        return "written"

    assert sorted(at_once(8, write)) == ["refused"] * 7 + ["written"]
    assert Note.objects.get().version == 2


@pytest.mark.django_db(transaction=True)
def test_refused_writes_leave_the_transaction_usable() -> None:
    note = note_create(owner=User.objects.create(email="owner@example.com"), title="a")
    with transaction.atomic():
        with pytest.raises(PreconditionFailed):
            version_update(instance=note, expected=9, title="b")
        with pytest.raises(PreconditionFailed):
            version_delete(instance=note, expected=9)
        version_update(instance=note, expected=1, title="c")
    note.refresh_from_db()
    assert note.title == "c"


# --- N+1


@override_settings(ROOT_URLCONF=__name__)
def test_n_plus_1_is_an_error(note: Note, caplog: pytest.LogCaptureFixture) -> None:
    note_create(owner=User.objects.create(email="b@example.com"), title="two")
    response = APIClient(raise_request_exception=False).get("/api/v1/each")
    assert_problem(response, 500, "internal-error")
    assert "N+1 detected on sample.Note.owner" in caplog.text


# --- settings, in processes of each kind

REPORT = """
import json, django
django.setup()
from django.conf import settings
from django.db import connection
before = bool(connection.connection) or bool(connection._connection_pools)
names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "client_connection_check_interval",
         "application_name"]
with connection.cursor() as cursor:
    values = {}
    for name in names:
        cursor.execute(f"SHOW {name}")
        values[name] = cursor.fetchone()[0]
pool = settings.DATABASES["default"]["OPTIONS"].get("pool")
print(json.dumps({"connected_before": before, "pool": pool and pool["max_size"], "wait": settings.DATABASE_WAIT_SECONDS,
                  "max_age": settings.DATABASES["default"]["CONN_MAX_AGE"], **values}))
if connection.pool:
    connection.close_pool()
"""


@pytest.mark.parametrize(
    ("kind", "statement", "lock", "idle", "pool", "wait"),
    [
        ("web", "5s", "2s", "10s", 3, 6.5),
        ("worker", "5min", "10s", "2min", None, None),
        ("command", "0", "30s", "0", None, None),
    ],
)
def test_timeouts_follow_the_kind_of_process(
    kind: str, statement: str, lock: str, idle: str, pool: int | None, wait: float | None
) -> None:
    """The values come from the server. A web process with 4 threads has at most 3 connections."""
    environment = {**os.environ, "PROCESS_KIND": kind, "WEB_THREADS": "4", "DATABASE_POOL_MAX": "9"}
    output = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    report = json.loads(output.splitlines()[-1])
    bounds = [report[name] for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")]
    assert bounds == [statement, lock, idle]
    looks = report["client_connection_check_interval"]  # for a client that was killed in a long statement
    assert looks == ("1s" if kind == "worker" else "0")
    assert report["pool"] == pool
    assert wait is None or report["wait"] == wait
    assert report["application_name"] == f"shipshape-{kind}"
    assert report["max_age"] == 0
    assert not report["connected_before"], "booting opened a connection: a fork would share it"


@pytest.mark.parametrize(
    "options", ["-c search_path=public", "-c statement_timeout=0 -c lock_timeout=0", "--search_path=public"]
)
def test_url_options_are_added_to_the_timeouts(options: str) -> None:
    """The values come from the server: the URL's options, and our timeouts even if the URL sets them."""
    url = os.environ["DATABASE_URL"]
    separator = "&" if "?" in url else "?"
    environment = {
        **os.environ,
        "PROCESS_KIND": "web",
        "DATABASE_URL": f"{url}{separator}{urlencode({'options': options}, quote_via=quote)}",
    }
    report = REPORT.replace('"application_name"]', '"application_name", "search_path"]')
    output = subprocess.run(
        [sys.executable, "-c", report], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    found = json.loads(output.splitlines()[-1])
    bounds = [found[name] for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")]
    assert bounds == ["5s", "2s", "10s"]
    assert (found["search_path"] == "public") is ("search_path" in options)


# --- system checks: each id, and that each is bound


@pytest.fixture
def database_c() -> Iterator[str]:
    """Return the name of a database with LC_CTYPE C on the tests' server."""
    name, address = "ctype_c", settings.DATABASES["default"]
    parts = {key: address[key.upper()] for key in ("host", "port", "user", "password")}
    with psycopg.connect(**parts, dbname="postgres", autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 LC_CTYPE 'C'")
        yield name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_lc_ctype_c_is_a_warning(db: None, database_c: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check", databases=["default"], fail_level="WARNING")
    other = connection.copy()
    other.settings_dict = {**connection.settings_dict, "NAME": database_c, "OPTIONS": {}}
    try:
        with monkeypatch.context() as patch:
            patch.setattr(connections["default"], "cursor", other.cursor)
            with pytest.raises(CommandError, match=r"database\.W001"):
                call_command("check", databases=["default"], fail_level="WARNING")
    finally:
        other.close()


def test_the_release_phase_checks_the_database() -> None:
    assert "check --deploy --database default" in Path("Procfile").read_text()


def test_orderings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Note._meta, "indexes", [])
    with pytest.raises(CommandError, match=r"database\.E003"):
        call_command("check")


def test_checks_import_the_views() -> None:
    """Lists are declared next to views, which a new process has not imported yet."""
    script = """
import django
django.setup()
from django.core.checks import run_checks
from tests.sample.models import Note
Note._meta.indexes = []
print(*[message.id for message in run_checks(tags=["database"])])
"""
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert set(output.split()) == {"database.E003"}
