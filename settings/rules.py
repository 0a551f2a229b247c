"""Rules of staging and prod beyond the kind of each value: weak secrets, wildcards, unencrypted connections."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from settings.urls import is_local
from settings.variables import DEPLOYED

KEY_LENGTH = 50  # characters; Django's own security.W009 asks for as many
TOKEN_LENGTH = 24
UNENCRYPTED_MODES = frozenset({"disable", "allow", "prefer"})
# Words of weak secrets, of six letters or more. The chance of one among 50 random URL-safe characters is one in ten million.
_PLACEHOLDERS = re.compile(
    "change(?:me|this|it)|replace|placeholder|your(?:own)?(?:secret|key|token|random)|secret|password|passphrase|insecure"
    "|random|string|example|sample|default|django|shipshape|production|development|staging|letmein|goeshere|inserthere"
    "|generate|characters|loremipsum|deadbeef",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[\s_.,;!?-]+(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)){3,}\W*")


def broken_rules(*, name: str, values: Mapping[str, Any], process: Mapping[str, str]) -> list[str]:
    """Return a sentence for each rule that the values break, none outside of staging and prod."""
    if name not in DEPLOYED:
        return []
    return [*_secrets(values), *_addresses(values), *_stores(values), *_pgbouncer(values), *_debug(process)]


def _secrets(values: Mapping[str, Any]) -> list[str]:
    broken = []
    for name, key in [
        ("SECRET_KEY", values["SECRET_KEY"]),
        *(("SECRET_KEY_FALLBACKS", old) for old in values["SECRET_KEY_FALLBACKS"] or []),
    ]:
        if key is not None and is_weak(key, length=KEY_LENGTH):
            broken.append(
                f"{name} is weak or published: generate one with python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
            )
    broken += [
        f"JWT_KEYS: the key of {entry['kid']} is weak or published: generate one with "
        "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        for entry in values["JWT_KEYS"] or []
        if is_weak(entry["key"], length=0)  # its kind has checked the length
    ]
    token = values["METRICS_TOKEN"]
    if token is not None and is_weak(token, length=TOKEN_LENGTH):
        broken.append(f"METRICS_TOKEN is weak: use {TOKEN_LENGTH} random characters or more")
    return broken


def is_weak(secret: str, *, length: int) -> bool:
    """Return whether a secret is shorter than ``length`` or was probably not generated at random.

    Signs of that are few different characters, words from examples in any spelling, repeated parts, runs such as ``abcdef``
    and ``987654``, and plain words. The output of Python's ``secrets`` and of Django's ``get_random_secret_key`` passes.
    """
    pieces = [secret[start : start + 3] for start in range(len(secret) - 2)]
    steps = [ord(after) - ord(before) for before, after in pairwise(secret)]
    runs = sum(1 for one, two in pairwise(steps) if one == two and abs(one) <= 1)
    return (
        len(secret) < length
        or len(set(secret)) < 8
        or _PLACEHOLDERS.search(re.sub(r"[\W_]", "", secret)) is not None
        or len(set(pieces)) < 0.7 * len(pieces)
        or runs > 0.3 * len(steps)
        or _WORDS.fullmatch(secret) is not None
    )


def _addresses(values: Mapping[str, Any]) -> list[str]:
    broken = []
    if isinstance(values["TRUSTED_PROXIES"], list) and (values["BIND"] or "").startswith("unix:"):
        broken.append(
            "TRUSTED_PROXIES lists networks, but clients of a socket (BIND) have no address: write the number of proxies"
        )
    if any(host in ("*", ".") or host.startswith("*") for host in values["ALLOWED_HOSTS"] or []):
        broken.append("ALLOWED_HOSTS contains a wildcard: list each host (.example.com includes its subdomains)")
    if values["PUBLIC_URL"] is not None and not values["PUBLIC_URL"].startswith("https://"):
        broken.append("PUBLIC_URL must begin with https://: tokens and cookies are only sent encrypted")
    if (
        values["ACCOUNT_URL"] is not None
        and values["ACCOUNT_URL"].startswith("http:")
        and not is_local(values["ACCOUNT_URL"])
    ):
        broken.append("ACCOUNT_URL must begin with https://: others on the network could read the mailed links")
    if any(origin.startswith("http:") and not is_local(origin) for origin in values["CORS_ALLOWED_ORIGINS"] or []):
        broken.append(
            "CORS_ALLOWED_ORIGINS contains an http:// origin, whose scripts others on the network could replace: use https://"
        )
    return broken


def _stores(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each store on another machine without TLS. The database gets sslmode=require by default."""
    if values["ALLOW_PLAINTEXT_STORES"]:
        return []
    broken = []
    for name in ("DATABASE_URL", "DATABASE_PGBOUNCER", "DATABASE_REPLICA_URL"):
        url = values[name]
        if (
            url
            and not is_local(url)
            and UNENCRYPTED_MODES.intersection(parse_qs(urlsplit(url).query).get("sslmode", []))
        ):
            broken.append(
                f"{name} turns TLS off: use sslmode=verify-full or require, or set ALLOW_PLAINTEXT_STORES=true"
            )
    for name in ("REDIS_URL", "CACHE_URL", "BROKER_URL"):
        url = values[name]
        if url is not None and url.startswith("redis://") and not is_local(url):
            broken.append(
                f"{name} is not encrypted: use rediss://, or set ALLOW_PLAINTEXT_STORES=true on a private network"
            )
    url = values["EMAIL_URL"]
    if url is not None and url.startswith("smtp://") and not is_local(url):
        broken.append(
            "EMAIL_URL is not encrypted, but mails contain links to accounts: use smtp+tls:// or smtps://, or set "
            "ALLOW_PLAINTEXT_STORES=true on a private network"
        )
    return broken


def _pgbouncer(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence if both URLs lead to one server, which is then PgBouncer or PostgreSQL for all processes."""
    pooled, direct = values["DATABASE_PGBOUNCER"], values["DATABASE_URL"]
    if pooled and direct and _server(pooled) == _server(direct):
        return [
            "DATABASE_PGBOUNCER and DATABASE_URL lead to the same server: set DATABASE_URL to PostgreSQL's own address, "
            "for workers and migrations"
        ]
    return []


def _server(url: str) -> tuple[str | None, int, list[str], list[str]]:
    """Return the host and port of a database URL, and those in its query (such as a socket's folder)."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return parts.hostname, parts.port or 5432, query.get("host", []), query.get("port", [])


def _debug(process: Mapping[str, str]) -> list[str]:
    if process.get("DEBUG", "").strip().lower() in ("1", "true", "yes", "on"):
        return ["DEBUG is set, but has no effect: staging and prod never run in debug mode; unset it"]
    return []
