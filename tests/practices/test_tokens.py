"""tokens (140): forged ones refused one by one, rotation under concurrency, revocation that bites."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone

from tests.problems import assert_problem

ROOT = Path(__file__).resolve().parents[2]
ME = "/api/v1/me"
pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # what happens after a commit happens, and threads see it

KEY = "k3y-" + "0123456789abcdef" * 3
NEXT = "n3xt-" + "fedcba9876543210" * 3
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def ring(*entries: tuple[str, str, datetime]) -> list[dict[str, Any]]:
    return [{"kid": kid, "key": key, "sign_from": sign_from} for kid, key, sign_from in entries]


@pytest.fixture(autouse=True)
def _keys() -> Any:
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH))):
        yield


@pytest.fixture
def pair() -> Any:
    """The tokens of a fresh sign-in."""
    from tests.apps.accounts.factories import sign_in, user_create

    return sign_in(user_create(), device="tests/1")


@pytest.fixture
def client() -> Client:
    return Client(headers={"user-agent": "tests/1"})


def get_me(client: Client, token: str) -> Any:
    return client.get(ME, HTTP_AUTHORIZATION=f"Bearer {token}")


def refresh(client: Client, token: str, **extra: Any) -> Any:
    body = {"refresh": token}
    return client.post("/api/v1/auth/refresh", body, content_type="application/json", **extra)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forge(header: dict[str, Any], claims: dict[str, Any], key: str = KEY, digest: Any = hashlib.sha256) -> str:
    """A token of any header and claims, signed as HMAC with `key`, past every check that a library would make."""
    text = f"{part(header)}.{part(claims)}"
    signature = hmac.new(key.encode(), text.encode(), digest).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


HEADER = {"alg": "HS256", "typ": "JWT", "kid": "a"}

FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "alg none": lambda claims: f"{part({**HEADER, 'alg': 'none'})}.{part(claims)}.",
    "alg None, signed": lambda claims: forge({**HEADER, "alg": "None"}, claims),
    "HS512 with our key": lambda claims: forge({**HEADER, "alg": "HS512"}, claims, digest=hashlib.sha512),
    "HS384 with our key": lambda claims: forge({**HEADER, "alg": "HS384"}, claims, digest=hashlib.sha384),
    "RS256 claimed": lambda claims: forge({**HEADER, "alg": "RS256"}, claims),
    "another key": lambda claims: forge(HEADER, claims, key=NEXT),
    "empty key": lambda claims: forge(HEADER, claims, key=""),
    "a kid we do not have": lambda claims: forge({**HEADER, "kid": "b"}, claims),
    "no kid": lambda claims: forge({"alg": "HS256", "typ": "JWT"}, claims),
    "kid of another type": lambda claims: forge({**HEADER, "kid": ["a"]}, claims),
    "kid as a path": lambda claims: forge({**HEADER, "kid": "../../dev/null"}, claims, key=""),
    "jku": lambda claims: forge({**HEADER, "jku": "https://evil.example/keys"}, claims),
    "x5u": lambda claims: forge({**HEADER, "x5u": "https://evil.example/cert"}, claims),
    "jwk": lambda claims: forge({**HEADER, "jwk": {"kty": "oct", "k": "AAAA"}}, claims),
    "crit": lambda claims: forge({**HEADER, "crit": ["b64"], "b64": False}, claims),
    "refresh as access": lambda claims: forge(HEADER, {**claims, "typ": "refresh"}),
    "no typ": lambda claims: forge(HEADER, {k: v for k, v in claims.items() if k != "typ"}),
    "another issuer": lambda claims: forge(HEADER, {**claims, "iss": "https://evil.example"}),
    "another audience": lambda claims: forge(HEADER, {**claims, "aud": "https://evil.example/api/"}),
    "no audience": lambda claims: forge(HEADER, {k: v for k, v in claims.items() if k != "aud"}),
    "expired": lambda claims: forge(HEADER, {**claims, "exp": int(time.time()) - 60}),
    "no exp": lambda claims: forge(HEADER, {k: v for k, v in claims.items() if k != "exp"}),
    "exp no number": lambda claims: forge(HEADER, {**claims, "exp": "never"}),
    "issued tomorrow": lambda claims: forge(HEADER, {**claims, "iat": int(time.time()) + 86400}),
    "not yet valid": lambda claims: forge(HEADER, {**claims, "nbf": int(time.time()) + 86400}),
    "another sign-in": lambda claims: forge(HEADER, {**claims, "sid": str(uuid4())}),
    "sid no id": lambda claims: forge(HEADER, {**claims, "sid": "1 OR 1=1"}),
    "sid of another type": lambda claims: forge(HEADER, {**claims, "sid": {"$ne": None}}),
    "no sid": lambda claims: forge(HEADER, {k: v for k, v in claims.items() if k != "sid"}),
    "no jti": lambda claims: forge(HEADER, {k: v for k, v in claims.items() if k != "jti"}),
    "8 KB": lambda claims: forge(HEADER, {**claims, "padding": "x" * 8192}),
    "claims no object": lambda _: forge(HEADER, [1, 2]),  # type: ignore[arg-type]
    "header nested deep": lambda _: "W1tb" * 480 + ".e30.AAAA",
    "changed payload": lambda claims: ".".join(
        [
            forge(HEADER, claims).split(".")[0],
            part({**claims, "sid": str(uuid4())}),
            forge(HEADER, claims).split(".")[2],
        ]
    ),
    "not a token": lambda _: "hello",
    "nothing": lambda _: "",
    "three dots": lambda _: "...",
    "not base64": lambda _: "a!.b!.c!",
}


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def test_the_forgery_bench_makes_a_token_that_would_pass(client: Client, pair: Any) -> None:
    """The control: what the tests below break is otherwise accepted, so each refusal has the reason it names."""
    assert get_me(client, forge(HEADER, claims_of(pair.access))).status_code == 200


@pytest.mark.parametrize("attack", FORGED)
def test_forged_access_tokens_are_refused(client: Client, pair: Any, attack: str) -> None:
    response = get_me(client, FORGED[attack](claims_of(pair.access)))
    assert_problem(response, 401, "token-refused")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


@pytest.mark.parametrize("attack", sorted(set(FORGED) - {"refresh as access", "nothing"}))
def test_forged_refresh_tokens_are_refused_and_end_nothing(client: Client, pair: Any, attack: str) -> None:
    assert_problem(refresh(client, FORGED[attack](claims_of(pair.refresh))), 401, "token-refused")
    assert refresh(client, pair.refresh).status_code == 200


def test_an_access_token_is_no_refresh_token(client: Client, pair: Any) -> None:
    assert_problem(refresh(client, pair.access), 401, "token-refused")
    assert_problem(get_me(client, pair.refresh), 401, "token-refused")
    assert refresh(client, pair.refresh).status_code == 200


def test_claims_and_header_are_the_documented_ones(pair: Any) -> None:
    for token, kind, lifetime in [(pair.access, "access", 15 * 60), (pair.refresh, "refresh", 14 * 24 * 3600)]:
        claims = claims_of(token)
        assert set(claims) == {"typ", "sid", "jti", "iat", "exp", "iss", "aud"}
        assert claims["typ"] == kind
        assert claims["iss"] == settings.PUBLIC_URL
        assert abs(claims["exp"] - claims["iat"] - lifetime) <= 1
        assert jwt.get_unverified_header(token) == HEADER


# The ring of keys.


def test_a_new_key_verifies_before_it_signs_and_an_old_one_after(client: Client, pair: Any) -> None:
    from tests.apps.accounts.factories import sign_in, user_create

    soon, past = timezone.now() + timedelta(minutes=10), timezone.now() - timedelta(minutes=1)
    early = forge({**HEADER, "kid": "b"}, claims_of(pair.access), key=NEXT)
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH), ("b", NEXT, soon))):
        assert get_me(client, early).status_code == 200
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == "a"
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH), ("b", NEXT, past))):
        assert get_me(client, pair.access).status_code == 200
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == "b"
    with override_settings(TOKENS_KEYS=ring(("b", NEXT, past))):
        assert_problem(get_me(client, pair.access), 401, "token-refused")


# Rotation.


@committed
def test_of_parallel_uses_exactly_one_mints_a_successor(pair: Any) -> None:
    from apps.accounts.models import RefreshFamily

    uses = 12
    start = threading.Barrier(uses)

    def use(_: int) -> tuple[int, str | None]:
        try:
            start.wait(timeout=30)
            response = refresh(Client(headers={"user-agent": "tests/1"}), pair.refresh)
            return response.status_code, response.json().get("refresh")
        finally:
            connection.close()

    with ThreadPoolExecutor(uses) as pool:
        answers = list(pool.map(use, range(uses)))
    assert [status for status, _ in answers] == [200] * uses
    successors = {token for _, token in answers}
    assert len(successors) == 1
    family = RefreshFamily.objects.get(pk=pair.family_id)
    assert claims_of(successors.pop())["jti"] == str(family.current_id)
    assert str(family.previous_id) == claims_of(pair.refresh)["jti"]


@committed
def test_parallel_uses_without_grace_have_one_winner_and_end_the_sign_in(pair: Any) -> None:
    from apps.accounts.models import RefreshFamily

    uses = 8
    start = threading.Barrier(uses)

    def use(_: int) -> int:
        try:
            start.wait(timeout=30)
            return refresh(Client(headers={"user-agent": "tests/1"}), pair.refresh).status_code
        finally:
            connection.close()

    with override_settings(TOKENS_GRACE_SECONDS=-1), ThreadPoolExecutor(uses) as pool:
        statuses = sorted(pool.map(use, range(uses)))
    assert statuses == [200] + [401] * (uses - 1)
    assert RefreshFamily.objects.get(pk=pair.family_id).ended_reason == "reuse"


def test_the_predecessor_within_the_grace_gets_the_same_successor_and_no_longer_grace(
    client: Client, pair: Any
) -> None:
    from apps.accounts.models import RefreshFamily

    first = refresh(client, pair.refresh).json()
    rotated = RefreshFamily.objects.get(pk=pair.family_id).rotated_at
    again = refresh(client, pair.refresh).json()
    assert again["refresh"] == first["refresh"]
    assert get_me(client, again["access"]).status_code == 200
    assert RefreshFamily.objects.get(pk=pair.family_id).rotated_at == rotated


@committed
@pytest.mark.parametrize("case", ["after the grace", "from another device", "the one before"])
def test_reuse_ends_the_sign_in_for_everybody(client: Client, pair: Any, case: str) -> None:
    from apps.accounts.models import RefreshFamily

    latest = refresh(client, pair.refresh).json()
    agent = {}
    if case == "after the grace":
        RefreshFamily.objects.update(rotated_at=timezone.now() - timedelta(seconds=settings.TOKENS_GRACE_SECONDS + 1))
    elif case == "from another device":
        agent = {"HTTP_USER_AGENT": "thief/1"}
    else:
        latest = refresh(client, latest["refresh"]).json()
    assert get_me(client, latest["access"]).status_code == 200
    answer = refresh(client, pair.refresh, **agent)
    assert_problem(answer, 401, "token-reused")
    assert "WWW-Authenticate" in answer.headers
    assert RefreshFamily.objects.get(pk=pair.family_id).ended_reason == "reuse"
    assert_problem(get_me(client, latest["access"]), 401, "token-refused")
    assert_problem(refresh(client, latest["refresh"]), 401, "token-refused")
    assert_problem(refresh(client, pair.refresh), 401, "token-refused")


def test_a_sign_in_ends_when_its_days_are_over_however_often_it_was_refreshed(client: Client) -> None:
    from apps.accounts.models import RefreshFamily
    from tests.apps.accounts.factories import sign_in, user_create

    old = sign_in(user_create(), now=timezone.now() - timedelta(days=13, hours=23, minutes=59), device="tests/1")
    answer = refresh(client, old.refresh).json()
    assert claims_of(answer["refresh"])["exp"] == claims_of(old.refresh)["exp"]
    assert answer["expires_in"] <= 60, "the access token outlives its sign-in"
    assert get_me(client, answer["access"]).status_code == 200
    RefreshFamily.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_problem(refresh(client, answer["refresh"]), 401, "token-refused")


# Revocation.


def test_authorising_is_one_query_and_none_while_it_is_remembered(
    client: Client, pair: Any, django_assert_num_queries: Any
) -> None:
    from apps.accounts.selectors.sessions import session_user

    now = timezone.now()
    with override_settings(TOKENS_CHECK_SECONDS=60):
        with django_assert_num_queries(1):
            user = session_user(family_id=pair.family_id, transport=pair.transport, now=now)
        with django_assert_num_queries(0):
            again = session_user(family_id=pair.family_id, transport=pair.transport, now=now)
        assert user is not None
        assert again == user
        assert again is not user
        with django_assert_num_queries(0):
            later = now + timedelta(days=15)
            assert session_user(family_id=pair.family_id, transport=pair.transport, now=later) is None
    with override_settings(TOKENS_CHECK_SECONDS=0), django_assert_num_queries(1):
        session_user(family_id=pair.family_id, transport=pair.transport, now=now)


def test_a_request_pays_one_query_for_its_authorisation_and_one_for_its_answer(
    client: Client, pair: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(2):
        assert get_me(client, pair.access).status_code == 200


def test_what_is_remembered_is_bounded(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts.selectors import sessions

    monkeypatch.setattr(sessions, "REMEMBERED_MAX", 5)
    for _ in range(20):
        assert sessions.session_user(family_id=uuid4(), transport=pair.transport, now=timezone.now()) is None
    assert len(sessions._table._looks) == 5


@committed
def test_a_look_that_began_before_the_end_is_not_remembered_after_it(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request reads the row, the sign-in ends, and only then the request remembers what it read."""
    from apps.accounts.models import FamilyEnd
    from apps.accounts.selectors import sessions
    from apps.accounts.services.sessions import session_end

    read = sessions._read

    def slowly(family_id: Any) -> Any:
        row = read(family_id)
        session_end(family_id=family_id, reason=FamilyEnd.LOGOUT, now=timezone.now())
        return row

    monkeypatch.setattr(sessions, "_read", slowly)
    assert sessions.session_user(family_id=pair.family_id, transport=pair.transport, now=timezone.now()) is not None
    monkeypatch.setattr(sessions, "_read", read)
    assert sessions.session_user(family_id=pair.family_id, transport=pair.transport, now=timezone.now()) is None


@committed
def test_a_sign_in_that_ends_in_a_transaction_that_is_rolled_back_stands(client: Client, pair: Any) -> None:
    from django.db import transaction

    from apps.accounts.models import FamilyEnd
    from apps.accounts.services.sessions import session_end

    with transaction.atomic():
        session_end(family_id=pair.family_id, reason=FamilyEnd.LOGOUT, now=timezone.now())
        transaction.set_rollback(True)
    assert get_me(client, pair.access).status_code == 200


@committed
def test_rights_come_from_the_row_at_once(client: Client) -> None:
    from apps.accounts.services.users import user_save
    from tests.apps.accounts.factories import bearer, user_create

    user = user_create(is_staff=True, permissions=("accounts.view_user",))
    header = bearer(user)
    assert client.get("/api/v1/users", **header).status_code == 200
    user.is_staff = False
    user_save(user=user)
    assert_problem(client.get("/api/v1/users", **header), 403, "permission-denied")


@committed
def test_a_logout_bites_in_another_process_within_the_bound(client: Client, pair: Any) -> None:
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    keys = json.dumps([{"kid": "a", "key": KEY, "sign_from": EPOCH.isoformat()}])
    environment = {**os.environ, "DATABASE_URL": url, "JWT_KEYS": keys, "SESSION_CHECK_SECONDS": "1"}
    argv = [sys.executable, "-W", "ignore", "-m", "tests.practices.tokens_neighbour", pair.access]
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as neighbour:
        try:
            assert neighbour.stdin is not None
            assert neighbour.stdout is not None
            assert neighbour.stdout.readline() == "open\n"
            answer = client.post("/api/v1/auth/logout", HTTP_AUTHORIZATION=f"Bearer {pair.access}")
            assert answer.status_code == 204
            neighbour.stdin.write("ended\n")
            neighbour.stdin.flush()
            assert float(neighbour.stdout.readline()) < 1 + 2  # the bound, and a busy machine
        finally:
            neighbour.kill()


# System checks: each is bound and has its id.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"TOKENS_KEYS": []}, "tokens.E002"),
        ({"TOKENS_KEYS": ring(("a", "short", EPOCH))}, "tokens.E001"),
        ({"TOKENS_KEYS": ring(("a", KEY, EPOCH), ("a", NEXT, EPOCH))}, "tokens.E001"),
        ({"TOKENS_KEYS": ring(("a", KEY, datetime(2999, 1, 1, tzinfo=UTC)))}, "tokens.E002"),
        ({"TOKENS_ACCESS_SECONDS": 14 * 86400}, "tokens.E003"),
        ({"PASSWORD_HASHERS": ["django.contrib.auth.hashers.Argon2PasswordHasher"]}, "tokens.E004"),
    ],
)
def test_check_refuses(values: dict[str, Any], expected: str) -> None:
    with override_settings(**values), pytest.raises(SystemCheckError, match=expected):
        call_command("check", "--tag", "security")


def test_check_refuses_a_second_register_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts.checks import BLACKLIST, tokens_check

    monkeypatch.setattr(settings, "INSTALLED_APPS", [*settings.INSTALLED_APPS, BLACKLIST])
    assert [message.id for message in tokens_check()] == ["tokens.E005"]


def test_check_has_nothing_to_say_about_what_is_shipped() -> None:
    from apps.accounts.checks import tokens_check

    assert tokens_check() == []


# The environment's own look at the ring: nothing boots with a weak one.


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "JSON list"),
        ("text", "JSON list"),
        ([{"kid": "a", "key": KEY}], "exactly kid, key and sign_from"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z", "alg": "none"}], "exactly kid"),
        ([{"kid": "", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}], "1 to 64"),
        ([{"kid": "a", "key": "secret", "sign_from": "2026-01-01T00:00:00Z"}], "weak"),
        ([{"kid": "a", "key": "a" * 40, "sign_from": "2026-01-01T00:00:00Z"}], "weak"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00"}], "zone"),
        ([{"kid": "a", "key": KEY, "sign_from": "soon"}], "zone"),
        ([{"kid": "a", "key": KEY, "sign_from": "2999-01-01T00:00:00Z"}], "no key may sign yet"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}] * 2, "same kid"),
    ],
)
def test_the_environment_refuses_a_ring(entries: Any, reason: str) -> None:
    from settings.kinds import key_ring

    with pytest.raises(ValueError, match=reason) as refusal:
        key_ring(json.dumps(entries))
    assert KEY not in str(refusal.value)


def test_the_environment_takes_a_ring() -> None:
    from settings.kinds import key_ring

    (entry,) = key_ring(json.dumps([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}]))
    assert entry == {"kid": "a", "key": KEY, "sign_from": datetime(2026, 1, 1, tzinfo=UTC)}
