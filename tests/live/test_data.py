"""When bin/dev migrates the database."""

import psycopg
import pytest

from tools.stack import Stack, data


def test_changed_databases_are_migrated_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stack.temporary(("postgresql",)) as stack:
        url = stack.state.urls["DATABASE_URL"]
        monkeypatch.setenv("DATABASE_URL", url)  # of the command that it runs
        assert data.migration_due(stack)
        data.migrate(stack)
        assert not data.migration_due(stack)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
            assert data.migration_due(stack), "somebody took a migration back"
            connection.execute("DROP TABLE django_migrations")
        assert data.migration_due(stack), "somebody made the database again"
