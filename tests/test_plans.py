"""Every list of the service over 200,000 rows: each filter, each order, at any depth, is read from an index.

Lists are found in the OpenAPI document, rows are made from the models' fields, so that a new app is covered without a line;
what cannot be known from there its own ``lists.py`` says (COLUMNS, VALUES).
"""

import importlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.practices.database import prepared
from apps.practices.database.cursors import Cursor, cursor_encode
from apps.practices.database.keys import uuid7
from apps.practices.database.lists import Filter, KeysetList, ListQuery, Matching
from apps.practices.database.prepared import Statement
from apps.practices.database.statements import PreparableSQL
from tests.access import address, rows, scenarios
from tests.caches import caches_clear
from tests.plans import UNBOUNDED_SORT, explained, faults
from tests.rows import empty, fill, in_order, told_by

ROWS = 200_000
LIMIT = 25
PAIRS = 20  # combinations of two filters that are tried
DEPTHS = (0.9,)
NOTES = "/api/v1/sample/notes"

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """Full tables, who asks, and what a request was seen to read."""

    owner: User
    admin: User
    positions: dict[tuple[str, ...], list[tuple[Any, ...]]] = field(default_factory=dict)
    common: dict[tuple[type[models.Model], str], list[str]] = field(default_factory=dict)
    seen: list[tuple[KeysetList, ListQuery]] = field(default_factory=list)
    explained: set[tuple[str, str]] = field(default_factory=set)
    kept: list[tuple[str, list[Any]]] = field(default_factory=list)  # statements and parameters, since the last request
    pages: int = 0

    def client(self, who: str) -> APIClient:
        client = APIClient()
        user = {"owner": self.owner, "admin": self.admin}.get(who)
        client.force_authenticate(user, token=SimpleNamespace(session_id=uuid7()) if user else None)
        return client


def says(model: type[models.Model]) -> ModuleType | None:
    """Return the ``lists.py`` of the tests of the model's app, if it has one."""
    module = model.__module__.rpartition(".models")[0]
    name = f"{module if module.startswith('tests.') else f'tests.{module}'}.lists"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    cases = [
        item.callspec.params
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    ]
    models_ = listed({case.get("path", NOTES) for case in cases})
    with django_db_blocker.unblock(), transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '300s'")
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # an index cannot be made while checks wait for the end
        empty(*{declared.model for declared in KeysetList.declared})
        fill(User, ROWS, owner=None, told=told_by(says(User), "COLUMNS"))
        owner, admin = User.objects.order_by("created_at")[:2]
        User.objects.filter(pk=admin.pk).update(is_superuser=True, is_staff=True, is_active=True)
        User.objects.filter(pk=owner.pk).update(is_superuser=False, is_staff=False, is_active=True)
        for model in models_:
            if model is not User:
                fill(model, ROWS, owner=owner.pk, told=told_by(says(model), "COLUMNS"))
        world = World(owner=User.objects.get(pk=owner.pk), admin=User.objects.get(pk=admin.pk))
        read = KeysetList.read

        def noting(self: KeysetList, query: ListQuery, *more: Any, **values: Any) -> Any:
            world.seen.append((self, query))
            return read(self, query, *more, **values)

        keep = Statement._keep

        def keeping(self: Statement, queryset: Any, build: Any, values: Any, by_key: bool) -> None:
            keep(self, queryset, build, values, by_key)
            if isinstance(self.sql, PreparableSQL):
                world.kept.append((self.sql, self._parameters(values)))

        patch.setattr(KeysetList, "read", noting)
        patch.setattr(Statement, "_keep", keeping)
        patch.setattr(prepared, "KEPT_FROM", 1)
        prepared._statement.cache_clear()
        yield world
        transaction.set_rollback(True)


def listed(wanted: set[str]) -> list[type[models.Model]]:
    """Return the models with lists in the apps that serve these paths, each after those that it refers to, also elsewhere."""
    views = [resolve(re.sub(r"{\w+}", str(uuid7()), path)).func.cls for path in wanted]
    labels = {apps.get_containing_app_config(view.__module__).label for view in views}
    every = in_order({declared.model for declared in KeysetList.declared})
    found = {model for model in every if model._meta.app_label in labels}
    found |= {one.related_model for model in found for one in model._meta.concrete_fields}
    return [model for model in every if model in found]


def paths() -> list[str]:
    """Return the path of every operation that pages through a list."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return [
        path
        for path, operations in schema["paths"].items()
        if {"cursor", "ordering"}
        <= {parameter["name"] for parameter in operations.get("get", {}).get("parameters", [])}
    ]


def test_all_lists_are_looked_at() -> None:
    assert {NOTES, "/api/v1/jobs", "/api/v1/users"} <= set(paths())


@pytest.mark.parametrize("path", paths())
def test_every_query_of_a_list_is_served_by_an_index(world: World, path: str) -> None:
    found = list(bad_plans(world, path))
    assert world.pages > 10
    assert not found, "\n\n".join(found)


def test_prepared_statements_are_looked_at(world: World) -> None:
    """After the lists: those of their statements that PostgreSQL prepares were explained so, too."""
    assert {table for table, sql in world.explained if "%s" in sql} >= {"sample_note", "accounts_user"}


@pytest.mark.parametrize("index", ["sample_note_created", "sample_note_title", "sample_note_title_created"])
def test_a_missing_index_is_found(world: World, index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {index}")
    world.explained.clear()
    assert next(bad_plans(world, NOTES), None)


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("ORDER BY body LIMIT 26", UNBOUNDED_SORT),
        ("WHERE body LIKE '%never%' LIMIT 26", "reads sample_note from its start"),
        ("WHERE NOT published AND version < 0 ORDER BY created_at DESC, id DESC LIMIT 26", "visits"),
    ],
)
def test_each_rule_is_broken_by_its_query(world: World, where: str, fault: str) -> None:
    with connection.cursor() as cursor:
        if fault == "visits":
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = explained(f"SELECT id FROM sample_note {where}")
    assert fault in " ".join(faults(plan, "sample_note", wanted=LIMIT + 1))


def bad_plans(world: World, path: str) -> Iterator[str]:
    """Ask a list all that it can be asked; describe each query whose plan would grow with the table."""
    filtered = False
    path = below(world, path)
    for who in ("nobody", "owner", "admin"):
        client = world.client(who)
        if client.get(path).status_code in (401, 403, 404):
            continue
        yield from page(world, client, f"{who} {path}", path, {})
        if not world.seen:
            continue
        declared = world.seen[0][0]
        orderings = [name for each in KeysetList.declared if each.model is declared.model for name in each.orderings]
        choices = [{}] + [{name: value} for name in declared.filters for value in choices_of(declared, name)]
        singles: list[dict[str, str]] = []
        pairs: list[dict[str, str]] = []
        if who != "nobody" and not filtered:  # every filter, as the first who is somebody and may
            filtered = True
            singles = [{name: value} for name in declared.filters for value in values(world, declared, name)]
            pairs = [{**one, **two} for one, two in itertools.combinations(singles, 2) if len({*one, *two}) == 2]
        for asked in [*choices, *(single for single in singles if single not in choices)]:
            for ordering in dict.fromkeys(orderings):
                yield from page(world, client, f"{who} {path}", path, {**asked, "ordering": ordering})
        random.seed(130)
        for asked in random.sample(pairs, min(len(pairs), PAIRS)):
            yield from page(world, client, f"{who} {path}", path, asked)


def below(world: World, path: str) -> str:
    """Return the path of a list below an object with one of the owner's in it, to which a tenth of the list's rows belong."""
    if "{" not in path:
        return path
    row = next(row for row in rows() if (row.method, row.path) == ("GET", path) and row.expected["owner"] == 200)
    thing = scenarios()[row.app].objects[row.on](world.owner)
    for model in {declared.model for declared in KeysetList.declared}:
        for name in (one.name for one in model._meta.fields if one.related_model is type(thing)):
            some = model._default_manager.values("pk")[: ROWS // 10]
            model._default_manager.filter(pk__in=some).update(**{name: thing.pk})
    return address(path, thing)


def choices_of(declared: KeysetList, name: str) -> list[str]:
    """Return the values of a filter that is a choice."""
    asked = declared.filters[name].field
    return [str(choice) for choice in asked.choices] if isinstance(asked, serializers.ChoiceField) else []


def values(world: World, declared: KeysetList, name: str) -> list[str]:
    """Return values for a filter: all of a choice; a common, a rare and an absent one of a column; else those declared."""
    asked = declared.filters[name]
    told = told_by(says(declared.model), "VALUES").get(name)
    if told is not None:
        return list(told)
    if choices := choices_of(declared, name):
        return choices
    if isinstance(asked.field, serializers.BooleanField):
        return ["true", "false"]
    column = asked.range or (asked.equal[0] if asked.equal else None)
    assert isinstance(asked, Filter), f"VALUES of {declared.model.__module__}'s lists.py lacks {name!r}"
    assert not isinstance(asked, Matching)
    assert column, f"VALUES of {declared.model.__module__}'s lists.py lacks {name!r}"
    if (declared.model, column) not in world.common:
        counted = declared.model._default_manager.exclude(**{column: None}).values_list(column)
        by_count = counted.annotate(rows=models.Count("pk")).order_by("-rows", column)
        found = [by_count[0], by_count.reverse()[0]]
        text = [value.isoformat() if hasattr(value, "isoformat") else str(value) for value, _ in found]
        world.common[declared.model, column] = text
    return world.common[declared.model, column]


def page(world: World, client: APIClient, who: str, path: str, asked: dict[str, str]) -> Iterator[str]:
    """Read the first page, and pages from deep positions in both directions."""
    world.seen.clear()
    yield from bad_plans_of(world, client, who, path, asked)
    if not world.seen:
        return  # refused: 400
    declared, query = world.seen[-1]
    columns = declared.orderings[query.ordering]
    for position in deep(world, declared, columns):
        for backward in (False, True):
            cursor = cursor_encode(Cursor(values=position, backward=backward), binding=query.binding)
            yield from bad_plans_of(world, client, who, path, {**asked, "cursor": cursor})


def deep(world: World, declared: KeysetList, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Return positions far from the start of an order: keys of rows of the whole table, whatever the filters."""
    key = (declared.model._meta.label, *columns)
    if key not in world.positions:
        names = [column.lstrip("-") for column in columns]
        rows = declared.model._default_manager.filter(**{f"{name}__isnull": False for name in names}).order_by(*columns)
        count = rows.count()
        world.positions[key] = [rows.values_list(*names)[int((count - 1) * depth)] for depth in DEPTHS]
    return world.positions[key]


def bad_plans_of(world: World, client: APIClient, who: str, path: str, asked: dict[str, str]) -> Iterator[str]:
    caches_clear()
    url = f"{path}?{urlencode(asked)}"
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url)
    if answer.status_code in (400, 401):
        return  # refused: no index serves it, or not for nobody
    assert answer.status_code == 200, (url, answer.content)
    world.pages += 1
    statements = [*((query["sql"], None) for query in queries.captured_queries), *world.kept]
    world.kept.clear()
    for table in {declared.model._meta.db_table for declared in KeysetList.declared}:
        for sql, parameters in statements:
            if f'"{table}"' in sql and sql.startswith(("SELECT", "WITH")) and (table, sql) not in world.explained:
                world.explained.add((table, sql))
                plan = explained(sql, parameters)
                for fault in faults(plan, table, wanted=LIMIT + 1):
                    yield f"{who} {asked}: {fault}\n    {sql[:600]}"
