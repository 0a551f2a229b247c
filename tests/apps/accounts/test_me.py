"""Change and delete one's own account."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.accounts.services import deletion
from apps.jobs.models import Job
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run
ME = "/api/v1/me"
NEW = "new@example.com"


def patch(client: Client, body: Any, header: dict[str, str]) -> Any:
    return client.patch(ME, data=body, content_type="application/json", **header)


def delete(client: Client, body: Any, header: dict[str, str]) -> Any:
    return client.delete(ME, data=body, content_type="application/json", **header)


# --- Changes.


def test_new_address_needs_password_and_link(client: Client) -> None:
    user = user_create(name="Ada")
    header = bearer(user)
    answer = patch(client, {"email": NEW, "current_password": PASSWORD, "name": "Adele"}, header)
    assert answer.status_code == 200
    assert (answer.json()["email"], answer.json()["name"]) == (user.email, "Adele")
    parameters = Job.objects.get().parameters
    assert re.fullmatch("[0-9a-f]{64}", parameters.pop("requester"))  # an HMAC of the password hash and address
    assert parameters == {"template": "change-email", "user_id": str(user.pk), "address": NEW}
    assert PASSWORD not in str(Job.objects.values())
    assert user.password not in str(Job.objects.values())


def test_taken_address_gets_the_same_response(client: Client) -> None:
    header = bearer(user_create())
    body = {"email": NEW, "current_password": PASSWORD}
    free = patch(client, body, header).json()
    user_create(email=NEW)
    taken = patch(client, body, header).json()
    assert {**free, "updated_at": None} == {**taken, "updated_at": None}


def test_address_does_not_change_without_the_password(client: Client) -> None:
    user = user_create(name="Ada")
    header = bearer(user)
    problem = assert_problem(patch(client, {"email": NEW}, header), 400, "validation", pointer="/current_password")
    schemas = client.get("/api/schema").json()["components"]["schemas"]
    assert schemas["PatchedMeRequest"]["dependentRequired"] == {"email": ["current_password"]}
    assert [error["code"] for error in problem["errors"]] == ["required"]
    wrong = {"email": NEW, "current_password": "not the password", "name": "Adele"}
    assert_problem(patch(client, wrong, header), 403, "password-wrong", pointer="/current_password")
    assert_problem(patch(client, {**wrong, "email": "x"}, header), 400, "validation", pointer="/email")
    user.refresh_from_db()
    assert user.name == "Ada"
    assert not Job.objects.exists()
    assert client.get(ME, **header).status_code == 200, "a wrong password ended the session"


# --- Deletion.


@committed
def test_deletion_ends_all_sessions(client: Client) -> None:
    user = user_create()
    here, there = bearer(user), bearer(user)
    pair = sign_in(user)
    assert client.get(ME, **there).status_code == 200
    answer = delete(client, {"password": PASSWORD}, here)
    assert (answer.status_code, answer.content) == (204, b"")
    for header in (here, there):
        assert_problem(client.get("/api/v1/jobs", **header), 401, "token-refused")  # which does not read the account
        assert_problem(client.get(ME, **header), 401, "token-refused")
        assert_problem(delete(client, {"password": PASSWORD}, header), 401, "token-refused")
    again = client.post("/api/v1/auth/refresh", {"refresh": pair.refresh}, content_type="application/json")
    assert_problem(again, 401, "token-refused")
    login = {"email": user.email, "password": PASSWORD}
    assert_problem(
        client.post("/api/v1/auth/login", login, content_type="application/json"), 401, "credentials-refused"
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", ME, None),
        ("PATCH", ME, {"name": "Ada"}),
        ("PATCH", ME, {"email": NEW, "current_password": PASSWORD}),
        ("DELETE", ME, {"password": PASSWORD}),
        ("POST", f"{ME}/export", None),
    ],
)
def test_process_with_a_cached_check_returns_401(client: Client, method: str, path: str, body: Any) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get(ME, **header).status_code == 200
    User.objects.filter(pk=user.pk).delete()  # in another process, while this one has a cached check
    sent = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    assert_problem(client.generic(method, path, **sent, **header), 401, "token-refused")


@pytest.mark.parametrize(
    ("body", "status", "type"),
    [
        ({}, 400, "validation"),
        ({"password": ""}, 400, "validation"),
        ({"password": None}, 400, "validation"),
        ({"password": "not the password"}, 403, "password-wrong"),
    ],
)
def test_deletion_needs_the_password(client: Client, body: dict[str, str], status: int, type: str) -> None:
    user = user_create()
    header = bearer(user)
    assert_problem(delete(client, body, header), status, type, pointer="/password")
    assert_problem(client.delete(ME, **header), 400, "validation", pointer="/password")
    assert client.get(ME, **header).status_code == 200
    assert not Job.objects.exists()


def test_deletion_is_refused_after_a_new_password(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    user = user_create()
    check = deletion.password_confirm

    def overtaken(**options: Any) -> User:
        checked = check(**options)
        User.objects.filter(pk=user.pk).update(password="another")
        return checked

    monkeypatch.setattr(deletion, "password_confirm", overtaken)
    assert_problem(delete(client, {"password": PASSWORD}, bearer(user)), 401, "account-changed")
    assert User.objects.filter(pk=user.pk).exists()
