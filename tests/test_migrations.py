"""The lint of migrations finds statements that block a table in use, and allows them on new tables."""

import re
from pathlib import Path

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ModelState, ProjectState

from tests.migrations import HELP, ROOT, excuses, lint

OLD = ModelState(
    "shop", "Thing", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=9))]
)
BAD = {
    "require-concurrent-index-creation": migrations.AddIndex("thing", models.Index(fields=["name"], name="thing_name")),
    "adding-required-field": migrations.RunSQL('ALTER TABLE "shop_thing" ADD COLUMN "size" integer NOT NULL'),
    "changing-column-type": migrations.AlterField("thing", "name", models.TextField()),
    "ban-drop-column": migrations.RemoveField("thing", "name"),
    "disallowed-unique-constraint": migrations.AlterField("thing", "name", models.CharField(max_length=9, unique=True)),
}


def sql_of(folder: Path, *operations: migrations.operations.base.Operation) -> Path:
    """Write what Django would run for these operations on a table that exists."""
    before = ProjectState()
    before.add_model(OLD.clone())
    migration = migrations.Migration("0002", "shop")
    migration.operations = list(operations)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        migration.apply(before, editor, collect_sql=True)
    path = folder / "shop.sql"
    path.write_text("\n".join(["BEGIN;", *editor.collected_sql, "COMMIT;"]))
    return path


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rule", BAD)
def test_what_blocks_a_living_table_is_found(rule: str, tmp_path: Path) -> None:
    path = sql_of(tmp_path, BAD[rule])
    assert rule in lint(path), path.read_text()
    assert rule not in lint(path, excused=frozenset({rule}))


@pytest.mark.django_db(transaction=True)
def test_new_tables_and_empty_columns_are_let_be(tmp_path: Path) -> None:
    fields = [("id", models.BigAutoField(primary_key=True)), ("thing", models.ForeignKey("shop.Thing", models.CASCADE))]
    new = migrations.CreateModel("Part", fields, options={"indexes": [models.Index(fields=["thing", "id"], name="p")]})
    empty = migrations.AddField("thing", "note", models.TextField(null=True))
    assert lint(sql_of(tmp_path, new, empty)) == ""


@pytest.mark.django_db(transaction=True)
def test_an_excuse_is_for_its_rule_alone(tmp_path: Path) -> None:
    """Find what is not excused, and allow what the project allows (here: a varchar column, no timeouts)."""
    wider = migrations.AddField("thing", "size", models.CharField(max_length=9, null=True))
    path = sql_of(tmp_path, BAD["require-concurrent-index-creation"], wider, BAD["ban-drop-column"])
    found = lint(path).splitlines()
    left = lint(path, excused=frozenset({"ban-drop-column"})).splitlines()
    assert left == [line for line in found if " ban-drop-column " not in line]
    assert (len(found), len(left)) == (2, 1), found


def test_findings_name_a_page_that_is_there() -> None:
    page, heading = re.fullmatch(r'(docs/\w+\.md), "(.+)",', HELP).groups()
    assert f"### {heading}\n" in (ROOT / page).read_text()


def test_an_excuse_gives_its_reason() -> None:
    assert excuses("# squawk-ignore: ban-drop-column - nothing reads it since 1.4") == {"ban-drop-column"}
    assert excuses("# squawk-ignore: ban-drop-column") == frozenset()
