"""tokens: forged tokens are refused, one attack at a time, each with a problem document."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.practices.tokens_bench import HEADER, NEXT, claims_of, forge, get_me, part, refresh
from tests.problems import assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("token_keys")]

LEEWAY, OTHER_KEY_HEADER = 10, {**HEADER, "kid": "b"}


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def signature_moved(claims: dict[str, Any]) -> str:
    """Return another session's id with the signature of this one."""
    header, _, signature = forge(HEADER, claims).split(".")
    return ".".join([header, part({**claims, "sid": str(uuid4())}), signature])


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "alg none": lambda claims: f"{part({**HEADER, 'alg': 'none'})}.{part(claims)}.",
    "alg none, our signature": lambda claims: forge({**HEADER, "alg": "none"}, claims),
    "alg None, signed": lambda claims: forge({**HEADER, "alg": "None"}, claims),
    "alg empty": lambda claims: forge({**HEADER, "alg": ""}, claims),
    "no alg": lambda claims: forge(without(HEADER, "alg"), claims),
    "alg a list": lambda claims: forge({**HEADER, "alg": ["HS256"]}, claims),
    "hs256 in lower case": lambda claims: forge({**HEADER, "alg": "hs256"}, claims),
    "HS512 with our key": lambda claims: forge({**HEADER, "alg": "HS512"}, claims, digest=hashlib.sha512),
    "HS384 with our key": lambda claims: forge({**HEADER, "alg": "HS384"}, claims, digest=hashlib.sha384),
    "RS256 claimed": lambda claims: forge({**HEADER, "alg": "RS256"}, claims),
    "ES256 claimed": lambda claims: forge({**HEADER, "alg": "ES256"}, claims),
    "EdDSA claimed": lambda claims: forge({**HEADER, "alg": "EdDSA"}, claims),
    "another key": lambda claims: forge(HEADER, claims, key=NEXT),
    "empty key": lambda claims: forge(HEADER, claims, key=""),
    "a kid we do not have": lambda claims: forge(OTHER_KEY_HEADER, claims),
    "a kid we do not have, its key": lambda claims: forge(OTHER_KEY_HEADER, claims, key=NEXT),
    "no kid": lambda claims: forge(without(HEADER, "kid"), claims),
    "kid of another type": lambda claims: forge({**HEADER, "kid": ["a"]}, claims),
    "kid as a path": lambda claims: forge({**HEADER, "kid": "../../dev/null"}, claims, key=""),
    "kid as SQL": lambda claims: forge({**HEADER, "kid": "x' UNION SELECT 'a"}, claims, key="a"),
    "jku": lambda claims: forge({**HEADER, "jku": "https://evil.example/keys"}, claims),
    "x5u": lambda claims: forge({**HEADER, "x5u": "https://evil.example/cert"}, claims),
    "x5c": lambda claims: forge({**HEADER, "x5c": ["MIIB"]}, claims),
    "jwk": lambda claims: forge({**HEADER, "jwk": {"kty": "oct", "k": "AAAA"}}, claims),
    "crit": lambda claims: forge({**HEADER, "crit": ["b64"], "b64": False}, claims),
    "zip": lambda claims: forge({**HEADER, "zip": "DEF"}, claims),
    "no typ": lambda claims: forge(HEADER, without(claims, "typ")),
    "typ of another kind": lambda claims: forge(HEADER, {**claims, "typ": ["access", "refresh"]}),
    "typ of a third use": lambda claims: forge(HEADER, {**claims, "typ": "sliding"}),
    "another issuer": lambda claims: forge(HEADER, {**claims, "iss": "https://evil.example"}),
    "no issuer": lambda claims: forge(HEADER, without(claims, "iss")),
    "another audience": lambda claims: forge(HEADER, {**claims, "aud": "https://evil.example/api/"}),
    "no audience": lambda claims: forge(HEADER, without(claims, "aud")),
    "expired": lambda claims: forge(HEADER, {**claims, "exp": int(time.time()) - 60}),
    "no exp": lambda claims: forge(HEADER, without(claims, "exp")),
    "exp no number": lambda claims: forge(HEADER, {**claims, "exp": "never"}),
    "exp null": lambda claims: forge(HEADER, {**claims, "exp": None}),
    "exp infinite": lambda claims: forge(HEADER, {**claims, "exp": float("inf")}),
    "exp no time": lambda claims: forge(HEADER, {**claims, "exp": 10**300}),
    "no iat": lambda claims: forge(HEADER, without(claims, "iat")),
    "iat no number": lambda claims: forge(HEADER, {**claims, "iat": "today"}),
    "issued tomorrow": lambda claims: forge(HEADER, {**claims, "iat": int(time.time()) + 86400}),
    "not yet valid": lambda claims: forge(HEADER, {**claims, "nbf": int(time.time()) + 86400}),
    "another session": lambda claims: forge(HEADER, {**claims, "sid": str(uuid4())}),
    "sid no id": lambda claims: forge(HEADER, {**claims, "sid": "1 OR 1=1"}),
    "sid of another type": lambda claims: forge(HEADER, {**claims, "sid": {"$ne": None}}),
    "no sid": lambda claims: forge(HEADER, without(claims, "sid")),
    "no jti": lambda claims: forge(HEADER, without(claims, "jti")),
    "jti a number": lambda claims: forge(HEADER, {**claims, "jti": 1}),
    "8 KB": lambda claims: forge(HEADER, {**claims, "padding": "x" * 6000}),
    "8 KB without a dot": lambda _: "x" * 8192,
    "8 KB of dots": lambda _: "." * 8192,
    "claims no object": lambda _: forge(HEADER, [1, 2]),
    "header no object": lambda claims: ".".join([part([1]), *forge(HEADER, claims).split(".")[1:]]),
    "header nested deep": lambda _: "W1tb" * 480 + ".e30.AAAA",
    "changed payload": signature_moved,
    "signature cut": lambda claims: forge(HEADER, claims)[:-1],
    "signature empty": lambda claims: forge(HEADER, claims).rpartition(".")[0] + ".",
    "a fourth part": lambda claims: forge(HEADER, claims) + ".AAAA",
    "not a token": lambda _: "hello",
    "three dots": lambda _: "...",
    "not base64": lambda _: "a!.b!.c!",
    "nothing": lambda _: "",
}
IN_A_HEADER_ALONE = {"nothing"}  # in a body it is an empty field: 400


def test_unmodified_test_tokens_are_accepted(pair: Any) -> None:
    """The control: without their defects these tokens are accepted, so each refusal below has its own reason."""
    assert get_me(forge(HEADER, claims_of(pair.access))).status_code == 200
    assert refresh(forge(HEADER, claims_of(pair.refresh))).status_code == 200


@pytest.mark.parametrize("attack", FORGED)
def test_forged_access_tokens_are_refused(pair: Any, attack: str) -> None:
    response = get_me(FORGED[attack](claims_of(pair.access)))
    assert_problem(response, 401, "token-refused")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


@pytest.mark.parametrize("attack", sorted(FORGED.keys() - IN_A_HEADER_ALONE))
def test_forged_refresh_tokens_end_no_session(pair: Any, attack: str) -> None:
    response = refresh(FORGED[attack](claims_of(pair.refresh)))
    assert_problem(response, 401, "token-refused")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'
    assert refresh(pair.refresh).status_code == 200


def test_token_kinds_are_not_interchangeable(pair: Any) -> None:
    assert_problem(refresh(pair.access), 401, "token-refused")
    assert_problem(get_me(pair.refresh), 401, "token-refused")
    relabelled = forge(HEADER, {**claims_of(pair.access), "typ": "refresh"}, key=NEXT)
    assert_problem(refresh(relabelled), 401, "token-refused")
    assert refresh(pair.refresh).status_code == 200


def test_signed_token_with_unknown_id_ends_the_session(pair: Any) -> None:
    """Only someone with a key can make one, so nothing in the session can be trusted."""
    assert_problem(refresh(forge(HEADER, {**claims_of(pair.refresh), "jti": str(uuid4())})), 401, "token-reused")
    assert_problem(refresh(pair.refresh), 401, "token-refused")


@pytest.mark.parametrize("ask", [get_me, refresh])
@pytest.mark.parametrize(
    ("claim", "just_inside", "just_outside"),
    [("exp", -(LEEWAY - 4), -(LEEWAY + 1)), ("iat", LEEWAY - 4, LEEWAY + 5), ("nbf", LEEWAY - 4, LEEWAY + 5)],
)
def test_clocks_may_differ_by_ten_seconds(
    pair: Any, ask: Callable[[str], Any], claim: str, just_inside: int, just_outside: int
) -> None:
    claims = claims_of(pair.access if ask is get_me else pair.refresh)
    now = int(time.time())
    assert_problem(ask(forge(HEADER, {**claims, claim: now + just_outside})), 401, "token-refused")
    assert ask(forge(HEADER, {**claims, claim: now + just_inside})).status_code == 200
