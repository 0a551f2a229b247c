"""Mass assignment (OWASP API3:2023; ASVS 5.0, 15.3.3): a write sets what its operation declares, and nothing else.

For each operation that writes, every field of the models it acts on, every member of what it answers, and names that have
served elsewhere are sent along: refused by name, and no row changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.db.models import Field, Model
from django.test import Client

from apps.accounts.models import User
from tests.access import Row, address, document, encoded, operations, rows, scenarios, send, stored, undone
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
JSON = "application/json"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
CLASSICS: dict[str, Any] = {
    **dict.fromkeys(("is_staff", "is_superuser", "is_admin", "is_active", "admin", "verified", "email_verified"), True),
    **dict.fromkeys(("id", "pk", "user_id", "owner_id", "author_id"), "01890000-0000-7000-8000-000000000000"),
    **dict.fromkeys(("user", "owner", "author", "created_by", "role", "password", "last_login", "state"), "assigned"),
    **dict.fromkeys(("created_at", "updated_at", "expires_at"), "2001-01-01T00:00:00Z"),
    **{name: [1] for name in ("groups", "user_permissions", "permissions")},
    "version": 999,
    "attempts": 0,
    "user[is_staff]": True,
    "owner.is_staff": True,
    "author__is_staff": True,
    "__class__": "assigned",
    "_state": {},
    "constructor": {"prototype": 1},
    "PK": "assigned",
}


def writes() -> list[Row]:
    """One row of each operation that writes, in which the owner is let in."""
    found: dict[str, Row] = {}
    for row in rows():
        if row.operation and row.method != "GET" and row.expected["owner"] < 300:
            found.setdefault(row.operation, row)
    return list(found.values())


def taken(row: Row) -> dict[str, dict[str, Any]]:
    """Return the schema of each member of the body by content type; empty without a body."""
    content = operations()[row.method, row.path].get("requestBody", {}).get("content", {})
    return {kind: resolved(media["schema"]).get("properties", {}) for kind, media in content.items()}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema, following a reference to a component."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document()["components"]["schemas"][name] if name else schema


def answered(row: Row) -> set[str]:
    """Return the members of the operation's answer."""
    answer = operations()[row.method, row.path]["responses"][str(row.expected["owner"])]
    schemas = [resolved(media["schema"]) for media in answer.get("content", {}).values()]
    return {name for schema in schemas for name in schema.get("properties", {})}


def columns(things: Mapping[str, Model]) -> dict[str, Any]:
    """Every field of the things' models under every name it has, with a value that would be taken, were it let through."""
    fields = [field for thing in things.values() for field in thing._meta.get_fields() if isinstance(field, Field)]
    return {name: plausible(field) for field in fields for name in (field.name, field.attname)}


def plausible(field: Field[Any, Any]) -> Any:
    if field.many_to_many:
        return [1]
    values = {"BooleanField": True, "UUIDField": CLASSICS["id"], "ForeignKey": CLASSICS["id"], "JSONField": {"a": 1}}
    values |= {"DateTimeField": CLASSICS["created_at"], "PositiveIntegerField": 7, "PositiveBigIntegerField": 7}
    return values.get(field.get_internal_type(), "assigned")


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def owner() -> User:
    return user_create(name="Owner")


@pytest.mark.parametrize(("row", "kind"), [(row, kind) for row in writes() for kind in taken(row)], ids=str)
def test_a_member_that_is_not_declared_is_refused_by_name(row: Row, kind: str, client: Client, owner: User) -> None:
    scenario = scenarios()[row.app]
    things = {name: make(owner) for name, make in scenario.objects.items()}
    tried = {**dict.fromkeys(answered(row), "assigned"), **columns(things), **CLASSICS}
    tried = {name: value for name, value in tried.items() if name not in taken(row)[kind]}
    assert len(tried) > len(CLASSICS) / 2
    where = address(row.path, things.get(row.on or ""))
    # Rights widen nothing: where the table lets a superuser in, one tries too.
    superuser = user_create(is_staff=True, is_superuser=True) if row.expected["admin"] < 300 else owner

    def refuse(name: str, value: Any, body: Mapping[str, Any], header: dict[str, str]) -> None:
        response = client.generic(row.method, where, **encoded({**body, name: value}, content_type=kind), **header)
        problem = assert_problem(response, 400, "validation")
        assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]

    for caller, values in (
        (owner, tried),
        (superuser, {name: CLASSICS[name] for name in tried.keys() & CLASSICS.keys()}),
    ):
        body, header = scenario.body(row.operation, caller) or {}, bearer(caller)
        before = stored()
        for name, value in values.items():
            refuse(name, value, body, header)
        assert stored() == before


@pytest.mark.parametrize("row", [row for row in writes() if JSON in taken(row)], ids=str)
def test_nothing_is_smuggled_in_below_a_member(row: Row, client: Client, owner: User) -> None:
    """An object where a value is expected, or one member too many in an object that is expected, is refused there."""
    scenario = scenarios()[row.app]
    thing = scenario.objects[row.on](owner) if row.on else None
    body, header = scenario.body(row.operation, owner) or {}, bearer(owner)
    before = stored()
    for name, schema in taken(row)[JSON].items():
        if not resolved(schema).keys() & {"type", "oneOf", "allOf", "enum"}:
            continue  # any JSON
        for value in ({"is_staff": True}, [{"is_staff": True}]):
            problem = assert_problem(send(client, row, thing, {**body, name: value}, **header), 400)
            where = [error["pointer"] for error in problem.get("errors", ())]
            assert all(pointer.startswith(f"/{name}") for pointer in where), where
            assert where or problem["type"].endswith("/malformed"), problem  # deeper than the operation's bodies are
    assert stored() == before


@pytest.mark.parametrize("row", writes(), ids=str)
def test_another_content_type_is_no_way_around(row: Row, client: Client, owner: User) -> None:
    scenario = scenarios()[row.app]
    thing = scenario.objects[row.on](owner) if row.on else None
    body, header = {**(scenario.body(row.operation, owner) or {}), **CLASSICS}, bearer(owner)
    before = stored()
    for kind in {*FORMS, JSON} - set(taken(row)):
        with undone():
            response = client.generic(
                row.method, address(row.path, thing), **encoded(body, content_type=kind), **header
            )
            if taken(row):
                assert_problem(response, 415)
                assert stored() == before
            else:  # no body is read: whatever it says, the account and whose things are stay as they are
                assert response.status_code in (400, 415, row.expected["owner"]), response.content
                assert stored()["accounts_user"] == before["accounts_user"]
                if thing is not None and row.method != "DELETE":
                    kept = {
                        field.attname: getattr(thing, field.attname)
                        for field in thing._meta.fields
                        if field.is_relation
                    }
                    thing.refresh_from_db()
                    assert kept == {name: getattr(thing, name) for name in kept}
