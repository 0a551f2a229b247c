"""References (OWASP API1:2023, object level authorisation): no user can refer to a row that they may not read.

For each operation that writes and each member of its body that names a row, another user sends the id of somebody else's
row. Where that row is closed to them, the answer is the one for an id that nobody has, and no row changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.test import Client

from apps.accounts.models import User
from tests.access import Row, rows, scenarios, send, stored, undone
from tests.apps.accounts.factories import bearer, user_create

pytestmark = pytest.mark.django_db
MISSING = {True: "01890000-0000-7000-8000-000000000000", False: 2**31 - 1}


def writes() -> list[Row]:
    """Return one row of each operation that writes and lets any user in who owns what it acts on."""
    found: dict[str, Row] = {}
    for row in rows():
        if row.operation and row.method != "GET" and row.expected["owner"] < 300:
            found.setdefault(row.operation, row)
    return list(found.values())


def named(app: str, member: str, value: Any) -> Model | None:
    """Return the row that a member of a body names: by its id anywhere, or by the relation of that name in the app."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    for model in apps.get_models():
        by_relation = any(
            field.name in (member, member.removesuffix("_id")) and field.related_model is model
            for each in apps.get_app_config(app).get_models()
            for field in each._meta.fields
        )
        is_uuid = model._meta.pk.get_internal_type() == "UUIDField"
        if not by_relation and not is_uuid:
            continue
        try:
            row = model._default_manager.filter(pk=value).first()
        except (ValidationError, ValueError):  # no key of the model
            continue
        if row is not None:
            return row
    return None


def is_readable(client: Client, row: Model, headers: Mapping[str, Any]) -> bool:
    """Ask the API: some operation of its app answers these headers with the row, alone or in a list."""
    app = row._meta.app_label
    for reading in (each for each in rows() if each.app == app and each.method == "GET" and each.operation):
        if reading.on and not reading.path.endswith("}"):
            continue
        if reading.on and not isinstance(scenarios()[app].objects[reading.on](user_create()), type(row)):
            continue
        response = send(client, reading, row if reading.on else None, None, **headers)
        if response.status_code == 200 and str(row.pk) in response.content.decode():
            return True
    return False


def references(row: Row, body: Mapping[str, Any] | None) -> dict[str, Model]:
    found = {name: named(row.app, name, value) for name, value in (body or {}).items()}
    return {name: thing for name, thing in found.items() if thing is not None}


def refused(row: Row, client: Client, owner: User) -> list[str]:
    """Send every reference of the operation as another user; return the names of those that were closed to them."""
    other = user_create()
    scenario, headers, closed = scenarios()[row.app], bearer(other), []
    thing = scenario.objects[row.on](other) if row.on else None
    mine = scenario.body(row.operation, other) or {}
    for name, target in references(row, scenario.body(row.operation, owner)).items():
        with undone():
            if is_readable(client, target, headers):
                continue
        answers = []
        for value in (
            str(target.pk) if isinstance(mine[name], str) else target.pk,
            MISSING[isinstance(mine[name], str)],
        ):
            before = stored()
            with undone():
                response = send(client, row, thing, {**mine, name: value}, **headers)
                assert stored() == before, f"{row}: {name} took {target._meta.label} {value}"
            document = json.loads(response.content.decode().replace(str(value), "the id"))
            answers.append((response.status_code, {**document, "request_id": None}))
        assert answers[0] == answers[1], f"{row}: {name} tells a row that is there from one that is not"
        assert answers[0][0] in (400, 404), answers
        closed.append(name)
    return closed


@pytest.mark.parametrize("row", writes(), ids=str)
def test_nobody_refers_to_what_they_may_not_read(row: Row, client: Client) -> None:
    closed = refused(row, client, user_create(name="Owner"))
    if row.operation == "sample_remarks_create":
        assert closed == ["note"]  # the walk has found what it looks for


def test_what_may_be_read_may_be_referred_to(client: Client) -> None:
    row = next(row for row in writes() if row.operation == "sample_remarks_create")
    other, note = user_create(), scenarios()["sample"].objects["published"](user_create())
    assert send(client, row, None, {"note": str(note.pk), "text": "Hello"}, **bearer(other)).status_code == 201
