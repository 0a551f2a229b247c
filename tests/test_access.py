"""Access control: every route and method, called as every kind of user, against the tables beside the apps' tests."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.http import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import User
from tests.access import CALLERS, METHODS, Row, address, operations, people, rows, scenarios, send, stored, undone
from tests.apps.accounts.factories import user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
# Walked by tests/test_access_admin.py, as people with a session.
ADMIN = "/admin/"


@pytest.fixture
def owner() -> User:
    return user_create(name="Owner")


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def routes(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """Every route of the URL configuration as Django writes it, with its view."""
    for entry in resolver.url_patterns:
        route = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLPattern):
            yield route, entry.callback
        else:
            yield from routes(entry, route)


def views() -> dict[str, type[APIView]]:
    """Return the API's views by route."""
    return {route: view.cls for route, view in routes(get_resolver()) if hasattr(view, "cls")}


def content(response: HttpResponseBase) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


# --- The tables and the routes name each other.


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    written = {(row.method, urlsplit(row.path).path): row.operation for row in rows() if row.operation}
    found = {place: operation["operationId"] for place, operation in operations().items()}
    assert {place: name for place, name in found.items() if place not in written} == {}, "operations without a row"
    assert {place: name for place, name in written.items() if place not in found} == {}, "rows without an operation"
    assert written == found


def test_every_route_outside_the_document_has_a_row_and_every_such_row_a_route() -> None:
    documented = {resolve(address(path, _Anything())).route for _, path in operations()}
    found = {route for route, _ in routes(get_resolver())}
    outside = {route for route in found if route.strip("/") not in documented and not route.startswith(ADMIN)}
    written = {f"/{resolve(urlsplit(row.path).path).route}" for row in rows() if row.operation is None}
    assert outside == written


class _Anything:
    """Has a key, and whatever else a path asks for."""

    def __getattr__(self, name: str) -> str:
        return "01890000-0000-7000-8000-000000000000"


# --- Each caller gets what the table says.


@pytest.mark.parametrize("row", rows(), ids=str)
def test_everybody_gets_what_the_table_says(row: Row, client: Client, owner: User) -> None:
    scenario = scenarios()[row.app]
    thing = scenario.objects[row.on](owner) if row.on else None
    wrong = []
    for person in people(owner, row.permission):
        with undone():
            body = scenario.body(row.operation, person.user)
            before = stored()
            response = send(client, row, thing, body, **person.headers)
            text = content(response)
            changed = sorted(name for name, digest in stored().items() if before[name] != digest)
        expected = row.expected[person.caller]
        if response.status_code != expected:
            wrong.append(
                f"{person.caller} ({person.name}) got {response.status_code}, the table says {expected}: {text[:300]!r}"
            )
            continue
        if expected >= 400:
            assert_problem(response, expected)
        refused = expected >= 400 or row.method in SAFE
        if bool(changed) is refused:
            wrong.append(f"{person.caller} ({person.name}) got {expected} and changed {changed or 'nothing'}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("app", sorted({row.app for row in rows() if row.on}))
def test_lists_show_nobody_what_they_may_not_read(app: str, client: Client, owner: User) -> None:
    """Whatever list of the app answers, it holds no object that this caller is refused when asking for it alone."""
    things = {name: make(owner) for name, make in scenarios()[app].objects.items()}
    reading = [row for row in rows() if row.app == app and row.method == "GET" and row.operation]
    shown = hidden = 0
    for listing in (row for row in reading if not row.on):
        with undone():  # those who ask, so that no list grows beyond its first page
            for person in people(owner, listing.permission):
                with undone():
                    document = json.loads(content(send(client, listing, None, None, **person.headers)))
                listed = {str(each.get("id")) for each in document.get("results", ())}
                for row in (row for row in reading if row.on and row.path.endswith("}")):
                    if row.permission not in (None, listing.permission):
                        continue
                    if row.expected[person.caller] == 200:
                        shown += str(things[row.on].pk) in listed
                    else:
                        hidden += 1
                        assert str(things[row.on].pk) not in listed, f"{listing}: {person.name} sees {row.on}"
    assert shown
    assert hidden


def test_what_no_row_names_is_not_allowed(client: Client, owner: User) -> None:
    """405 and the methods that there are to a superuser; strangers learn no more than that from what else they get."""
    declared = defaultdict(set)
    for method, path in operations():
        declared[path].add(method)
    objects = {urlsplit(row.path).path: (row.app, row.on) for row in rows() if row.operation}
    superuser = people(owner, None)[-1]
    for path, methods in declared.items():
        app, on = objects[path]
        where = address(path, scenarios()[app].objects[on](owner) if on else None)
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        before = stored()
        for method in {*METHODS, "HEAD", "TRACE", "BREW"} - allowed:
            answer = client.generic(method, where, **superuser.headers)
            assert answer.status_code == 405, f"{method} {path}: {answer.status_code}"
            named = set(answer.headers["Allow"].split(", "))
            assert named - {"HEAD", "OPTIONS"} == methods, f"{method} {path}: {named}"
            answer = client.generic(method, where)
            assert answer.status_code in (401, 405), f"{method} {path}: {answer.status_code} to nobody"
        assert stored() == before, path


def test_unknown_query_parameters_are_refused(client: Client, owner: User) -> None:
    """Walk every operation and every other API route with a parameter that none declares: 400 naming it, and no change."""
    objects = {urlsplit(row.path).path: (row.app, row.on) for row in rows()}
    walked = {(row.method, urlsplit(row.path).path) for row in rows() if row.path.startswith("/api/v1/")}
    assert walked >= set(operations())
    superuser = people(owner, None)[-1]
    before = stored()
    for method, path in sorted(walked):
        app, on = objects[path]
        with undone():
            where = address(path, scenarios()[app].objects[on](owner) if on else None)
            there = stored()
            answer = client.generic(method, f"{where}?colour=red", **superuser.headers)
            assert_problem(answer, 400, "validation", pointer="?colour")
            assert stored() == there, f"{method} {path}"
    assert stored() == before


# --- What nobody thought of is refused.


def test_a_view_that_says_nothing_about_permissions_is_refused_to_nobody() -> None:
    class Bare(APIView):
        def get(self, request: Any) -> Response:
            return Response({"secret": True})

    response = Bare.as_view()(RequestFactory().get("/"))
    assert response.status_code == 401
    assert b"secret" not in response.content


def test_every_view_of_the_api_asks_somebody() -> None:
    """A view with no permission class at all lets everybody in; one that is no APIView asks nobody."""
    assert [route for route, view in views().items() if not view.permission_classes] == []
    assert [
        route for route, view in routes(get_resolver()) if route.startswith("/api/v1/") and not hasattr(view, "cls")
    ] == []


def test_views_that_ask_for_a_permission_name_one_that_exists() -> None:
    known = {f"{app}.{name}" for app, name in Permission.objects.values_list("content_type__app_label", "codename")}
    named = {getattr(view, "permission_required", None) for view in views().values()} - {None}
    assert named
    assert named <= known
    assert {row.permission for row in rows()} - {None} <= known


def test_the_tables_hold_more_than_statuses_for_one() -> None:
    """A table whose columns were all alike would compare nothing."""
    for caller in CALLERS:
        assert len({row.expected[caller] for row in rows()}) > 2, caller
    assert settings.REST_FRAMEWORK["DEFAULT_PERMISSION_CLASSES"] == ["rest_framework.permissions.IsAuthenticated"]
