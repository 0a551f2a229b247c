"""Register, sign in, refresh and sign out, over HTTP."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import jwt
import pytest
from django.contrib.auth.hashers import identify_hasher
from django.test import Client

from apps.accounts import urls
from apps.accounts.models import AttemptCount, Session, User
from apps.accounts.views import credentials
from apps.accounts.views.base import CredentialView
from apps.practices.throttling.throttles import LoginThrottle
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run

PAIR = {"access", "refresh", "token_type", "expires_in", "session"}
USER = {"id", "email", "name", "is_active", "is_staff", "email_verified", "created_at", "updated_at"}


def post(client: Client, path: str, body: Any = None, **extra: Any) -> Any:
    return client.post(f"/api/v1/auth/{path}", data=body, content_type="application/json", **extra)


def login(client: Client, email: str, password: str = PASSWORD) -> Any:
    return post(client, "login", {"email": email, "password": password})


def test_register_returns_the_user_who_can_sign_in(client: Client) -> None:
    response = post(client, "register", {"email": "Ada@Example.COM", "password": PASSWORD, "name": "Ada"})
    assert response.status_code == 201, response.content
    user = response.json()
    assert set(user) == USER
    assert user["email"] == "ada@example.com"
    assert user["name"] == "Ada"
    assert user["is_active"] is True
    assert user["is_staff"] is False
    assert user["email_verified"] is False
    assert UUID(user["id"]).version == 7
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", user["created_at"])
    assert login(client, "ada@example.com").status_code == 200


def test_stored_hash_has_owasps_argon2id_parameters(client: Client) -> None:
    post(client, "register", {"email": "ada@example.com", "password": PASSWORD})
    stored = User.objects.get(email="ada@example.com").password
    assert stored.startswith("argon2nfkc$argon2id$v=19$m=19456,t=2,p=1$")
    assert identify_hasher(stored).algorithm == "argon2nfkc"


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.com", "Ada@example.Com"])
def test_taken_address_is_409_in_any_case(client: Client, email: str) -> None:
    user_create(email="ada@example.com")
    response = post(client, "register", {"email": email, "password": PASSWORD})
    assert_problem(response, 409, "email-taken", pointer="/email")
    assert User.objects.count() == 1


def test_sharp_s_is_not_ss(client: Client) -> None:
    """faß.example and fass.example are two domains (UTS 46, non-transitional)."""
    for written, stored in (("ada@faß.example", "ada@xn--fa-hia.example"), ("ada@fass.example", "ada@fass.example")):
        response = post(client, "register", {"email": written, "password": PASSWORD})
        assert response.status_code == 201, response.json()
        assert response.json()["email"] == stored
    assert login(client, "ADA@FAß.example").status_code == 200
    assert login(client, "ada@xn--fa-hia.example").status_code == 200
    assert login(client, "ada@faß.example", "not the password").status_code == 401
    assert set(AttemptCount.objects.values_list("failures", flat=True)) == {1}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"email": "no address"}, "/email", "invalid"),
        ({"email": f"{'a' * 250}@example.com"}, "/email", "max_length"),
        ({"email": "adm\N{LATIN SMALL LETTER DOTLESS I}n@example.com"}, "/email", "invalid"),
        ({"email": "u\N{LATIN SMALL LETTER LONG S}er@example.com"}, "/email", "invalid"),
        ({"email": '"ada"@example.com'}, "/email", "invalid"),
        ({"email": "ada@[127.0.0.1]"}, "/email", "invalid"),
        ({"email": "ada@localhost"}, "/email", "invalid"),
        ({"password": "short"}, "/password", "password_too_short"),
        ({"password": "correcthorsebatterystaple" * 6}, "/password", "max_length"),
        ({"password": "123456789012345"}, "/password", "password_entirely_numeric"),
        ({"password": "startfinding"}, "/password", "password_too_common"),
        ({"password": "ada.lovelace@example.com"}, "/password", "password_too_similar"),
        ({"password": "nul \x00 in the middle of it"}, "/password", "nul"),
        ({"name": "a\x00b"}, "/name", None),
        ({"name": "x" * 151}, "/name", "max_length"),
        ({"is_staff": True}, "/is_staff", "unknown"),
        ({"is_superuser": True}, "/is_superuser", "unknown"),
        ({"email_verified": True}, "/email_verified", "unknown"),
    ],
)
def test_register_refuses_invalid_input(client: Client, change: dict[str, Any], pointer: str, code: str | None) -> None:
    body = {"email": "ada.lovelace@example.com", "password": PASSWORD, "name": "Ada", **change}
    problem = assert_problem(post(client, "register", body), 400, "validation", pointer=pointer)
    if code:
        assert code in [error["code"] for error in problem["errors"]], problem["errors"]
    assert not User.objects.exists()


def test_login_returns_tokens_in_the_documented_shape(client: Client) -> None:
    user = user_create()
    response = login(client, user.email.upper())
    assert response.status_code == 200
    body = response.json()
    assert set(body) == PAIR
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert response.headers["Cache-Control"] == "no-store"
    session = Session.objects.get(pk=body["session"])
    assert session.user_id == user.pk
    assert session.device == "tests/1"
    assert session.address == "127.0.0.1"
    claims = jwt.decode(body["access"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert claims["sid"] == body["session"]
    assert claims["typ"] == "access"


def test_tables_hold_no_credentials(client: Client) -> None:
    body = login(client, user_create().email).json()
    row = str(Session.objects.filter(pk=body["session"]).values().get())
    for token in (body["access"], body["refresh"]):
        assert token.rpartition(".")[2] not in row


def test_login_refusals_are_the_same(client: Client) -> None:
    known, sleeping = user_create(), user_create(is_active=False)
    unusable = user_create()
    unusable.set_unusable_password()
    unusable.save()
    answers = []
    for email, password in [
        (known.email, "not the password"),
        ("nobody@example.com", PASSWORD),
        (sleeping.email, PASSWORD),
        (unusable.email, PASSWORD),
    ]:
        response = login(client, email, password)
        document = assert_problem(response, 401, "credentials-refused")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        answers.append({name: value for name, value in document.items() if name != "request_id"})
    assert answers == [answers[0]] * 4
    assert not Session.objects.exists()


@pytest.mark.parametrize("exists", [True, False])
def test_login_always_computes_one_hash(client: Client, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    import argon2.low_level

    from apps.accounts import hashers

    computed = []
    slot = hashers.hashing_slot
    monkeypatch.setattr(hashers, "hashing_slot", lambda: computed.append(1) or slot())
    email = user_create().email if exists else "nobody@example.com"
    computed.clear()
    assert login(client, email, "not the password").status_code == 401
    assert len(computed) == 1
    assert argon2.low_level.Type.ID


def test_login_replaces_an_outdated_hash(client: Client) -> None:
    from apps.accounts.hashers import NormalisedArgon2Hasher

    class Older(NormalisedArgon2Hasher):
        time_cost, memory_cost, parallelism = 1, 8 * 1024, 1

    user = user_create()
    User.objects.filter(pk=user.pk).update(password=Older().encode(PASSWORD, Older().salt()))
    assert login(client, user.email).status_code == 200
    user.refresh_from_db()
    assert "m=19456,t=2,p=1" in user.password
    assert login(client, user.email).status_code == 200


@pytest.mark.parametrize("field", ["is_staff", "remember"])
def test_unknown_fields_are_refused(client: Client, field: str) -> None:
    body = {"email": user_create().email, "password": PASSWORD, field: "cookie"}
    assert_problem(post(client, "login", body), 400, "validation", pointer=f"/{field}")


def test_credential_views_are_limited_as_logins() -> None:
    views = {pattern.callback.view_class for pattern in urls.urlpatterns}
    limited = {view for view in views if LoginThrottle in view.throttle_classes}
    assert {view for view in views if issubclass(view, CredentialView)} - limited == {credentials.Refresh}


def test_login_ignores_a_stale_header(client: Client) -> None:
    response = post(
        client, "login", {"email": user_create().email, "password": PASSWORD}, HTTP_AUTHORIZATION="Bearer stale"
    )
    assert response.status_code == 200


def test_refresh_returns_a_valid_pair(client: Client) -> None:
    first = login(client, user_create().email).json()
    response = post(client, "refresh", {"refresh": first["refresh"]})
    assert response.status_code == 200
    second = response.json()
    assert set(second) == PAIR
    assert second["session"] == first["session"]
    assert second["refresh"] != first["refresh"]
    assert client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {second['access']}").status_code == 200
    assert post(client, "refresh", {"refresh": second["refresh"]}).status_code == 200


@committed
def test_reused_token_is_refused_and_ends_the_session(client: Client) -> None:
    first = login(client, user_create().email).json()
    second = post(client, "refresh", {"refresh": first["refresh"]}).json()
    third = post(client, "refresh", {"refresh": second["refresh"]}).json()
    assert_problem(post(client, "refresh", {"refresh": first["refresh"]}), 401, "token-reused")
    assert_problem(post(client, "refresh", {"refresh": third["refresh"]}), 401, "token-refused")
    assert_problem(client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {third['access']}"), 401, "token-refused")
    assert Session.objects.get(pk=first["session"]).ended_reason == "reuse"


@committed
def test_logout_ends_only_this_session(client: Client) -> None:
    user = user_create()
    here, there = login(client, user.email).json(), login(client, user.email).json()
    header = {"HTTP_AUTHORIZATION": f"Bearer {here['access']}"}
    assert client.get("/api/v1/me", **header).status_code == 200
    response = post(client, "logout", **header)
    assert (response.status_code, response.content) == (204, b"")
    answer = client.get("/api/v1/me", **header)
    assert_problem(answer, 401, "token-refused")
    assert "invalid_token" in answer.headers["WWW-Authenticate"]
    assert_problem(post(client, "refresh", {"refresh": here["refresh"]}), 401, "token-refused")
    assert client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {there['access']}").status_code == 200
    assert Session.objects.get(pk=here["session"]).ended_reason == "logout"


def test_missing_token_names_the_scheme(client: Client) -> None:
    for method, path in [("get", "me"), ("patch", "me"), ("post", "auth/logout"), ("get", "users")]:
        response = getattr(client, method)(f"/api/v1/{path}")
        assert_problem(response, 401, "not-authenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@committed
def test_deactivated_user_is_refused_at_once(client: Client) -> None:
    from django.utils import timezone

    from apps.accounts.services.users import user_deactivate

    user = user_create()
    header, pair = bearer(user), sign_in(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    user_deactivate(user=user, now=timezone.now())
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert_problem(post(client, "refresh", {"refresh": pair.refresh}), 401, "token-refused")
    assert not Session.objects.filter(user=user, ended_at=None).exists()


def test_inactive_row_is_refused(client: Client) -> None:
    """Also when it was changed in SQL, without the service that ends sessions."""
    user = user_create()
    header = bearer(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
