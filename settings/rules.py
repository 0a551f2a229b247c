"""What staging and prod refuse to boot with, beyond single values: weak secrets, wildcards, plaintext connections."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from settings.strength import is_weak
from settings.urls import is_local
from settings.variables import DEPLOYED

KEY_LENGTH = 50  # characters; Django's own security.W009 asks for as many
TOKEN_LENGTH = 24
UNENCRYPTED_MODES = frozenset({"disable", "allow", "prefer"})


def broken_rules(*, name: str, values: Mapping[str, Any], process: Mapping[str, str]) -> list[str]:
    """One sentence for each rule that the values break; none outside staging and prod."""
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
                f"{name} is weak or a published one: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
            )
    broken += [
        f"JWT_KEYS: the key of {entry['kid']} is weak or a published one: "
        "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        for entry in values["JWT_KEYS"] or []
        if is_weak(entry["key"], length=0)  # its kind has counted the bytes
    ]
    token = values["METRICS_TOKEN"]
    if token is not None and is_weak(token, length=TOKEN_LENGTH):
        broken.append(f"METRICS_TOKEN is weak: write {TOKEN_LENGTH} random characters or more")
    return broken


def _addresses(values: Mapping[str, Any]) -> list[str]:
    broken = []
    if isinstance(values["TRUSTED_PROXIES"], list) and (values["BIND"] or "").startswith("unix:"):
        broken.append(
            "TRUSTED_PROXIES holds networks, and whoever connects to a socket (BIND) has no address: write a count"
        )
    if any(host in ("*", ".") or host.startswith("*") for host in values["ALLOWED_HOSTS"] or []):
        broken.append("ALLOWED_HOSTS holds a wildcard: name each host (.example.com takes its subdomains)")
    if values["PUBLIC_URL"] is not None and not values["PUBLIC_URL"].startswith("https://"):
        broken.append("PUBLIC_URL must begin with https://: tokens and cookies never travel in clear")
    if (
        values["ACCOUNT_URL"] is not None
        and values["ACCOUNT_URL"].startswith("http:")
        and not is_local(values["ACCOUNT_URL"])
    ):
        broken.append(
            "ACCOUNT_URL must begin with https://: whoever sits on the way would read the links that are mailed"
        )
    if any(origin.startswith("http:") and not is_local(origin) for origin in values["CORS_ALLOWED_ORIGINS"] or []):
        broken.append(
            "CORS_ALLOWED_ORIGINS holds an http:// origin: whoever sits on the way writes its pages, and they may use cookies"
        )
    return broken


def _stores(values: Mapping[str, Any]) -> list[str]:
    """Stores beyond this machine need TLS. A DATABASE_URL that names no sslmode is given sslmode=require."""
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
                f"{name} switches TLS off: use sslmode=verify-full or require, or set ALLOW_PLAINTEXT_STORES=true"
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
            "EMAIL_URL is not encrypted, and mails open accounts: use smtp+tls:// or smtps://, or set "
            "ALLOW_PLAINTEXT_STORES=true on a private network"
        )
    return broken


def _pgbouncer(values: Mapping[str, Any]) -> list[str]:
    """Whoever is given one address for both has named PgBouncer twice, or PostgreSQL."""
    pooled, direct = values["DATABASE_PGBOUNCER"], values["DATABASE_URL"]
    if pooled and direct and _server(pooled) == _server(direct):
        return [
            "DATABASE_PGBOUNCER and DATABASE_URL lead to the same server: DATABASE_URL is PostgreSQL's own address, "
            "for workers and migrations"
        ]
    return []


def _server(url: str) -> tuple[str | None, int, list[str], list[str]]:
    """Where a database URL leads: host and port, and those that its query says (a socket's folder)."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return parts.hostname, parts.port or 5432, query.get("host", []), query.get("port", [])


def _debug(process: Mapping[str, str]) -> list[str]:
    if process.get("DEBUG", "").strip().lower() in ("1", "true", "yes", "on"):
        return ["DEBUG is set: nothing reads it and staging and prod never run in debug mode; unset it"]
    return []
