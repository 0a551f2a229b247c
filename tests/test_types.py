"""JSON types: each member of each body accepts the documented types, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from tests.access import Row, scenarios, send, stored
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem
from tests.test_mass_assignment import JSON, resolved, taken, writes

pytestmark = pytest.mark.django_db
# Each would be taken by a field that makes what it can of it: digits are a number, 1 is true, a number is a text.
VALUES: dict[str, list[Any]] = {
    "string": ["5", "true", "a", "null"],
    "integer": [5, 1, 0],
    "number": [1.5],
    "boolean": [True, False],
    "array": [[], ["a"]],
    "object": [{}, {"a": 1}],
}


def types(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema accepts; empty for any."""
    schema = resolved(schema)
    found = schema.get("type", [])
    named = {found} if isinstance(found, str) else set(found)
    named |= {kind for value in schema.get("enum", ()) if (kind := called(value))}
    for branch in ("oneOf", "anyOf", "allOf"):
        named |= {kind for one in schema.get(branch, ()) for kind in types(one)}
    return named | {"integer"} if "number" in named else named


def called(value: Any) -> str | None:
    return next((name for name, values in VALUES.items() if type(values[0]) is type(value)), None)


@pytest.mark.parametrize("row", [row for row in writes() if JSON in taken(row)], ids=str)
def test_a_value_of_another_type_is_refused_by_name(row: Row) -> None:
    owner: User = user_create(name="Owner")
    scenario = scenarios()[row.app]
    thing = scenario.objects[row.on](owner) if row.on else None
    body, header, client = scenario.body(row.operation, owner) or {}, bearer(owner), Client()
    before = stored()

    def refuse(name: str, value: Any, pointer: str) -> None:
        problem = assert_problem(send(client, row, thing, {**body, name: value}, **header), 400, "validation")
        assert pointer in [error["pointer"] for error in problem["errors"]], (value, problem["errors"])

    tried = 0
    for name, schema in taken(row)[JSON].items():
        known = types(schema)
        for value in (value for kind in VALUES.keys() - known for value in VALUES[kind] if known):
            refuse(name, value, f"/{name}")
            tried += 1
        members = resolved(schema).get("items")
        if members:
            for value in (value for kind in VALUES.keys() - types(members) for value in VALUES[kind]):
                refuse(name, ["a", value], f"/{name}/1")
    assert tried or not any(types(schema) for schema in taken(row)[JSON].values())
    assert stored() == before
