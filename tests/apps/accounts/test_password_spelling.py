"""A password is the same in every spelling, and costs at most one hash."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from apps.accounts.hashers import PASSWORD_LENGTH
from apps.accounts.models import LinkPurpose, User
from apps.accounts.services.links import link_create
from apps.accounts.validators import CommonPasswordValidator, PasswordLengthValidator
from tests.apps.accounts.factories import admin_sign_in, bearer, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db

ADA = "ada@example.com"
COMPOSED = "caf\N{LATIN SMALL LETTER E WITH ACUTE}s and \N{ROMAN NUMERAL FOUR} harbours"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
COMPATIBLE = unicodedata.normalize("NFKC", COMPOSED)
SPELLINGS = [COMPOSED, DECOMPOSED, COMPATIBLE]
FRESH = "lighthouses \N{LATIN SMALL LETTER O WITH DIAERESIS}ver the bay"
LONG = "ab" * 4_000 + "c"  # the slowest input: almost a repetition of a piece of any length


def send(client: Client, path: str, body: dict[str, Any], *, method: str = "post", **headers: str) -> Any:
    return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", **headers)


def register(client: Client, password: str) -> None:
    assert send(client, "auth/register", {"email": ADA, "password": password}).status_code == 201


def reset(client: Client, password: str) -> None:
    user, now = user_create(email=ADA), timezone.now()
    token = link_create(user_id=user.pk, purpose=LinkPurpose.RESET_PASSWORD, email=ADA, asked_at=now, now=now)
    assert send(client, "auth/password/reset/confirm", {"token": token, "new_password": password}).status_code == 204


def change(client: Client, password: str) -> None:
    user = user_create(email=ADA, password=DECOMPOSED)
    body = {"current_password": COMPOSED, "new_password": password}
    assert send(client, "auth/password/change", body, **bearer(user)).status_code == 200


def admin_set(client: Client, password: str) -> None:
    user = user_create(email=ADA)
    admin_sign_in(client, user_create(email="root@example.com", is_staff=True, is_superuser=True))
    body = {"password1": password, "password2": password, "usable_password": "true"}
    assert client.post(f"/admin/accounts/user/{user.pk}/password/", body).status_code == 302


def admin_own(client: Client, password: str) -> None:
    admin_sign_in(client, user_create(email=ADA, password=COMPOSED, is_staff=True))
    body = {"old_password": DECOMPOSED, "new_password1": password, "new_password2": password}
    assert client.post("/admin/password_change/", body).status_code == 302


def superuser(client: Client, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    call_command("createsuperuser", "--noinput", "--email", ADA, stdout=StringIO())


def command(client: Client, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user_create(email=ADA)
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: password)
    call_command("changepassword", ADA, stdout=StringIO())


@pytest.mark.parametrize("set_password", [register, reset, change, admin_set, admin_own, superuser, command])
def test_login_takes_any_spelling(
    client: Client, set_password: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_password(client, DECOMPOSED, *([monkeypatch] if set_password in (superuser, command) else []))
    for spelling in SPELLINGS:
        assert send(Client(), "auth/login", {"email": ADA, "password": spelling}).status_code == 200
        assert check_password(spelling, User.objects.get(email=ADA).password)
    assert send(Client(), "auth/login", {"email": ADA, "password": COMPOSED.replace("\xe9", "e")}).status_code == 401


def test_confirmation_takes_any_spelling(client: Client) -> None:
    user = user_create(email=ADA, password=COMPOSED)
    body = {"email": "new@example.com", "current_password": DECOMPOSED}
    assert send(client, "me", body, method="patch", **bearer(user)).status_code == 200
    assert send(client, "me", {"password": COMPATIBLE}, method="delete", **bearer(user)).status_code == 204


def test_admin_login_takes_any_spelling(client: Client) -> None:
    user_create(email=ADA, password=COMPOSED, is_staff=True)
    assert client.post("/admin/login/", {"username": ADA, "password": DECOMPOSED}).status_code == 302


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the passwords that Argon2 gets."""
    given: list[str] = []

    def spied(name: str) -> None:
        real = getattr(Argon2PasswordHasher, name)

        def spy(self: Any, password: str, other: str) -> Any:
            given.append(password)
            return real(self, password, other)

        monkeypatch.setattr(Argon2PasswordHasher, name, spy)

    spied("encode")
    spied("verify")
    return given


@pytest.mark.parametrize("wrong", ["not what it should be", "not what it \N{ROMAN NUMERAL FOUR} be"])
@pytest.mark.parametrize("account", ["known", "unknown"])
def test_wrong_password_costs_one_hash(client: Client, hashes: list[str], account: str, wrong: str) -> None:
    if account == "known":
        user_create(email=ADA)
    hashes.clear()
    assert send(client, "auth/login", {"email": ADA, "password": wrong}).status_code == 401
    assert len(hashes) == 1


def test_length_is_that_of_the_hashed_form() -> None:
    PasswordLengthValidator()(unicodedata.normalize("NFD", "\xe9" * PASSWORD_LENGTH))
    for long in ("\xe9" * (PASSWORD_LENGTH + 1), "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 30, "e" * 10**6):
        with pytest.raises(ValidationError):
            PasswordLengthValidator()(long)


@pytest.mark.parametrize("dressed", ["\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff442024!", "monke\u24e8monkey"])
def test_common_password_is_refused_in_any_spelling(dressed: str) -> None:
    with pytest.raises(ValidationError):
        CommonPasswordValidator().validate(dressed)


def test_overlong_password_costs_nothing_anywhere(client: Client, hashes: list[str]) -> None:
    """Staff with four passwords of 8 KB in the admin's form kept an instance busy for 18 s."""
    user = user_create(email=ADA)
    root = user_create(email="root@example.com", is_staff=True, is_superuser=True)
    sign_in, staff, now = bearer(user), Client(), timezone.now()
    admin_sign_in(staff, root)
    token = link_create(user_id=user.pk, purpose=LinkPurpose.RESET_PASSWORD, email=ADA, asked_at=now, now=now)
    hashes.clear()
    began = time.process_time()
    for path, body, method, pointer in (
        ("auth/register", {"email": "new@example.com", "password": LONG}, "post", "/password"),
        ("auth/login", {"email": ADA, "password": LONG}, "post", "/password"),
        ("auth/password/reset/confirm", {"token": token, "new_password": LONG}, "post", "/new_password"),
        ("auth/password/change", {"current_password": "x", "new_password": LONG}, "post", "/new_password"),
        ("auth/password/change", {"current_password": LONG, "new_password": FRESH}, "post", "/current_password"),
        ("me", {"email": "new@example.com", "current_password": LONG}, "patch", "/current_password"),
        ("me", {"password": LONG}, "delete", "/password"),
    ):
        answer = send(client, path, body, method=method, **sign_in)
        problem = assert_problem(answer, 400, "validation", pointer=pointer)
        assert "max_length" in [error["code"] for error in problem["errors"]]
    pair = {"password1": LONG, "password2": LONG, "usable_password": "true"}
    for path, fields in (
        (f"accounts/user/{user.pk}/password/", pair),
        ("accounts/user/add/", {"email": "new@example.com", "name": "", **pair}),
        ("password_change/", {"old_password": LONG, "new_password1": LONG, "new_password2": LONG}),
        ("password_change/", {"old_password": "x", "new_password1": LONG, "new_password2": LONG}),
    ):
        answer = staff.post(f"/admin/{path}", fields)
        assert answer.status_code == 200
        assert "Use at most 128 characters." in answer.content.decode()
    answer = Client().post("/admin/login/", {"username": ADA, "password": LONG})
    assert "Use at most 128 characters." in answer.content.decode()
    assert [len(one) for one in hashes] == [1]  # the old password "x" in the admin, which has a valid length
    assert time.process_time() - began < 10
