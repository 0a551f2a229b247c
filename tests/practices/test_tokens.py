"""tokens: claims, keys, and settings that are refused. See also test_tokens_*.py."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from django.utils import timezone

from apps.accounts.checks import NO_MAIL, tokens_check
from apps.accounts.services import tokens
from settings.kinds import key_ring
from tests.apps.accounts.factories import sign_in, user_create
from tests.practices.tokens_bench import EPOCH, HEADER, KEY, NEXT, claims_of, forge, get_me, ring
from tests.problems import assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("token_keys")]


def test_claims_and_header_are_as_documented(pair: Any) -> None:
    for token, kind, lifetime in [(pair.access, "access", 15 * 60), (pair.refresh, "refresh", 14 * 24 * 3600)]:
        claims = claims_of(token)
        assert set(claims) == {"typ", "sid", "jti", "iat", "exp", "iss", "aud"}
        assert claims["typ"] == kind
        assert claims["iss"] == settings.PUBLIC_URL
        assert claims["sid"] == str(pair.session_id)
        assert abs(claims["exp"] - claims["iat"] - lifetime) <= 1
        assert jwt.get_unverified_header(token) == HEADER


def test_keys_verify_before_and_after_they_sign(pair: Any) -> None:
    soon, past = timezone.now() + timedelta(minutes=10), timezone.now() - timedelta(minutes=1)
    early = forge({**HEADER, "kid": "b"}, claims_of(pair.access), key=NEXT)
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH), ("b", NEXT, soon))):
        assert get_me(early).status_code == 200
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == "a"
    with override_settings(TOKENS_KEYS=ring(("a", KEY, EPOCH), ("b", NEXT, past))):
        assert get_me(pair.access).status_code == 200
        assert jwt.get_unverified_header(sign_in(user_create()).access)["kid"] == "b"
    with override_settings(TOKENS_KEYS=ring(("b", NEXT, past))):
        assert_problem(get_me(pair.access), 401, "token-refused")


# System checks: each is registered and has its id.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"TOKENS_ACCESS_SECONDS": 14 * 86400}, "tokens.E003"),
        ({"PASSWORD_HASHERS": ["django.contrib.auth.hashers.Argon2PasswordHasher"]}, "tokens.E004"),
        ({"REQUIRE_VERIFIED_EMAIL": True, "EMAIL_BACKEND": NO_MAIL}, "tokens.E006"),
    ],
)
def test_checks_report_bad_settings(values: dict[str, Any], expected: str) -> None:
    with override_settings(**values), pytest.raises(SystemCheckError, match=expected):
        call_command("check", "--tag", "security")


def test_shipped_settings_pass_the_checks() -> None:
    assert tokens_check() == []


# The environment refuses to start with a weak ring.


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "JSON list"),
        ("text", "JSON list"),
        ([{"kid": "a", "key": KEY}], "kid, key and sign_from, and nothing else"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z", "alg": "none"}], "and nothing else"),
        ([{"kid": "", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}], "1 to 64"),
        ([{"kid": "a", "key": "secret", "sign_from": "2026-01-01T00:00:00Z"}], "weak"),
        ([{"kid": "a", "key": "a" * 40, "sign_from": "2026-01-01T00:00:00Z"}], "weak"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00"}], "zone"),
        ([{"kid": "a", "key": KEY, "sign_from": "soon"}], "zone"),
        ([{"kid": "a", "key": KEY, "sign_from": "2999-01-01T00:00:00Z"}], "no key can sign yet"),
        ([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}] * 2, "same kid"),
    ],
)
def test_environment_refuses_invalid_rings(entries: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        key_ring(json.dumps(entries))
    assert KEY not in str(refusal.value)


def test_environment_accepts_a_ring() -> None:
    (entry,) = key_ring(json.dumps([{"kid": "a", "key": KEY, "sign_from": "2026-01-01T00:00:00Z"}]))
    assert entry == {"kid": "a", "key": KEY, "sign_from": datetime(2026, 1, 1, tzinfo=UTC)}


class TestVerifiedTokens:
    """A token is verified once, and nothing else changes."""

    def test_verified_token_expires(self, pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 0)
        end = int(time.time()) + 2
        token = forge(HEADER, {**claims_of(pair.access), "exp": end})
        assert [get_me(token).status_code for _ in range(2)] == [200, 200]
        time.sleep(end - time.time())
        assert_problem(get_me(token), 401, "token-refused")

    @pytest.mark.parametrize(
        "changed",
        [
            {"TOKENS_KEYS": ring(("a", NEXT, EPOCH))},
            {"TOKENS_KEYS": ring(("b", KEY, EPOCH))},
            {"TOKENS_ISSUER": "another"},
            {"TOKENS_AUDIENCE": "another"},
        ],
    )
    def test_verified_token_is_refused_once_its_terms_change(self, pair: Any, changed: dict[str, Any]) -> None:
        assert get_me(pair.access).status_code == 200
        with override_settings(**changed):
            assert_problem(get_me(pair.access), 401, "token-refused")
        assert get_me(pair.access).status_code == 200

    def test_kept_tokens_are_bounded(self) -> None:
        assert 0 < tokens._verified.cache_info().maxsize <= 10_000
