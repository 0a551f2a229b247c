"""The account and the list of accounts: shapes, permissions, queries and caching."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.account import account_update
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.users import user_register, user_save
from tests.apps.accounts.factories import PASSWORD, bearer, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run
USER = {"id", "email", "name", "is_active", "is_staff", "email_verified", "created_at", "updated_at"}


def patch(client: Client, body: Any, **extra: Any) -> Any:
    return client.patch("/api/v1/me", data=body, content_type="application/json", **extra)


def admin() -> dict[str, str]:
    return bearer(user_create(is_staff=True, permissions=("accounts.view_user",)))


def test_me_is_the_user_and_private(client: Client) -> None:
    user = user_create(name="Ada")
    response = client.get("/api/v1/me", **bearer(user))
    assert response.status_code == 200
    assert set(response.json()) == USER
    assert response.json()["id"] == str(user.pk)
    assert "private" in response.headers["Cache-Control"] or "no-store" in response.headers["Cache-Control"]


def test_me_changes_the_name_and_cleans_it(client: Client) -> None:
    user = user_create(name="Ada")
    header = bearer(user)
    response = patch(client, {"name": "  Ade\u0301le "}, **header)
    assert response.status_code == 200
    assert set(response.json()) == USER
    assert response.json()["name"] == "Adéle"
    assert client.get("/api/v1/me", **header).json()["name"] == "Adéle"
    user.refresh_from_db()
    assert user.name == "Adéle"
    assert patch(client, {}, **header).json()["name"] == "Adéle"


@pytest.mark.parametrize(
    "field",
    ["id", "email", "is_staff", "is_superuser", "is_active", "email_verified", "password", "groups", "created_at"],
)
def test_me_refuses_other_fields(client: Client, field: str) -> None:
    user = user_create()
    before = User.objects.filter(pk=user.pk).values().get()
    response = patch(client, {"name": "New", field: "true"}, **bearer(user))
    assert_problem(response, 400, "validation", pointer=f"/{field}")
    assert User.objects.filter(pk=user.pk).values().get() == before


def test_users_needs_staff_with_the_permission(client: Client) -> None:
    target = user_create()
    permission = ("accounts.view_user",)
    by_group = user_create(is_staff=True)
    group = Group.objects.create(name="support")
    group.permissions.add(Permission.objects.get(content_type__app_label="accounts", codename="view_user"))
    by_group.groups.add(group)
    allowed = [
        user_create(is_staff=True, permissions=permission),
        by_group,
        user_create(is_staff=True, is_superuser=True),
    ]
    refused = [user_create(), user_create(is_staff=True), user_create(permissions=permission)]
    for path in ("/api/v1/users", f"/api/v1/users/{target.pk}"):
        for user in allowed:
            assert client.get(path, **bearer(user)).status_code == 200
        for user in refused:
            assert_problem(client.get(path, **bearer(user)), 403, "permission-denied")
        assert_problem(client.get(path), 401, "not-authenticated")


def test_user_is_read_in_the_documented_shape(client: Client) -> None:
    user = user_create(name="Ada")
    body = client.get(f"/api/v1/users/{user.pk}", **admin()).json()
    assert set(body) == USER
    assert body["email"] == user.email
    assert_problem(client.get(f"/api/v1/users/{uuid4()}", **admin()), 404, "not-found")
    assert_problem(client.get("/api/v1/users/1", **admin()), 404, "not-found")


@pytest.mark.parametrize("ordering", ["-created_at", "created_at", "email", "-email"])
def test_list_pages_through_all_users_once(client: Client, ordering: str) -> None:
    header = admin()
    for _ in range(7):
        user_create()
    seen, path = [], f"/api/v1/users?limit=3&ordering={ordering}&fields=id,email"
    while path:
        page = client.get(path, **header).json()
        assert len(page["results"]) <= 3
        assert all(set(row) == {"id", "email"} for row in page["results"])
        seen += [row["id"] for row in page["results"]]
        path = page["next"]
    expected = User.objects.order_by(ordering, "-id" if ordering.startswith("-") else "id").values_list("id", flat=True)
    assert seen == [str(pk) for pk in expected]


@pytest.mark.parametrize(
    "query", ["colour=blue", "limit=0", "limit=101", "ordering=password", "fields=password", "cursor=x"]
)
def test_list_names_unknown_parameters(client: Client, query: str) -> None:
    response = client.get(f"/api/v1/users?{query}", **admin())
    assert_problem(response, 400, "validation", pointer=f"?{query.partition('=')[0]}")


def test_list_costs_one_query_and_none_when_cached(
    client: Client, django_assert_num_queries: Any, settings: Any
) -> None:
    settings.TOKENS_CHECK_SECONDS = 60  # the session is checked once
    header = admin()
    for _ in range(5):
        user_create()
    client.get("/api/v1/me", **header)
    with django_assert_num_queries(1):  # permissions were read with the session
        first = client.get("/api/v1/users", **header)
    with django_assert_num_queries(0):
        again = client.get("/api/v1/users", **header)
    assert first.json() == again.json()
    assert len(first.json()["results"]) == 6


@pytest.mark.parametrize(("seconds", "status"), [(60, 200), (0, 403)])
def test_permissions_are_as_old_as_the_session_check(client: Client, settings: Any, seconds: int, status: int) -> None:
    settings.TOKENS_CHECK_SECONDS = seconds
    user = user_create(is_staff=True, permissions=("accounts.view_user",))
    header = bearer(user)
    assert client.get(f"/api/v1/users/{user.pk}", **header).status_code == 200
    user.user_permissions.clear()
    assert client.get(f"/api/v1/users/{user.pk}", **header).status_code == status


@committed
def test_saving_a_user_drops_cached_permissions(client: Client, settings: Any) -> None:
    settings.TOKENS_CHECK_SECONDS = 60
    user = user_create(is_staff=True, permissions=("accounts.view_user",))
    header = bearer(user)
    assert client.get(f"/api/v1/users/{user.pk}", **header).status_code == 200
    user.user_permissions.clear()
    user_save(user=user, fields=("name",))
    assert client.get(f"/api/v1/users/{user.pk}", **header).status_code == 403


@committed
def test_changes_show_in_the_cached_list_at_once(client: Client) -> None:
    header = admin()
    user = user_create(name="Before")

    def names() -> list[str]:
        return [row["name"] for row in client.get("/api/v1/users", **header).json()["results"]]

    assert "Before" in names()
    account_update(user_id=user.pk, name="After", origin=NOWHERE, now=timezone.now())
    assert "After" in names()
    user_register(email="new@example.com", password=PASSWORD, name="Newcomer", now=timezone.now())
    assert "Newcomer" in names()
