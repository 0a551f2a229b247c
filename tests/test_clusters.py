"""The cluster that a run of the tests starts on."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests import clusters
from tests.clusters import MIGRATED, database_create, is_migrated
from tools.stack import Stack


def test_a_new_database_is_migrated(stack: Stack) -> None:
    server = stack.state.urls["DATABASE_URL"]
    assert not is_migrated(server), "the stack's own is empty"
    url = database_create(server, "a_new_one")
    try:
        assert is_migrated(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM accounts_user").fetchall() == [(0,)]
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("a_new_one")))


def test_a_server_without_one_makes_an_empty_database(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MIGRATED", f"no_{MIGRATED}")
    server = stack.state.urls["DATABASE_URL"]
    url = database_create(server, "an_empty_one")
    assert not is_migrated(url)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("an_empty_one")))


def test_a_changed_or_new_migration_makes_another_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "ROOT", tmp_path)
    monkeypatch.setattr(clusters, "__file__", str(tmp_path / "clusters.py"))
    (tmp_path / "clusters.py").touch()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "test.txt").write_text("django==5.2.8\n")
    migrations = tmp_path / "apps" / "shop" / "migrations"
    migrations.mkdir(parents=True)
    keys = [clusters._key(), clusters._key()]
    for name, text in (("0001_first.py", "a"), ("0001_first.py", "b"), ("0002_second.py", "c")):
        (migrations / name).write_text(text)
        keys.append(clusters._key())
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
