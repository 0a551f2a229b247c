"""Redaction of secrets and personal data in log lines and error reports.

Three nets, since each has holes: the name of a field, the shape of a value, and the literal secrets in the settings of this
service. When in doubt, a value is hidden (ASVS 5.0, 16.2.5; OWASP Logging Cheat Sheet, "Data to exclude").
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

HIDDEN = "[redacted]"
TEXT_MAX = 16_384  # characters of one value; the rest is cut
ITEMS_MAX = 200
DEPTH_MAX = 12
_LITERAL_MIN = 8  # a shorter secret would hide innocent words

_NAMES = (
    r"pass(?:word|wd|phrase|code)?|secret|token|authori[sz]ation|cookie|credential|jwt|csrf|api[_-]?key|private[_-]?key"
    r"|access[_-]?key|signing[_-]?key|session[_-]?(?:id|key)|signature|dsn|one[_-]?time|otp"
)
_SENSITIVE_NAME = re.compile(_NAMES, re.IGNORECASE)
# No rule below can match without one of these, so most values need only this scan: in lower case, as the rules ignore case.
_SUSPICIOUS = ("@", "=", ":", "%3d", "%3a", "%40", "eyj", "bearer", "basic")

# Bounded repetitions only: attackers control this text, and matching must stay linear in its length.
_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # user:password@ in any URL. A raw "@" or "/" may be part of the password, so it reaches to the last "@" of the word.
    (re.compile(r"(://[^\s/:@]{0,256}:)\S{1,1024}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"://[^\s/?#:@]{1,256}@"), f"://{HIDDEN}@"),
    # Credentials in headers, to the end of the line, however the header was printed.
    (
        re.compile(
            r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-csrftoken|x-api-key)([\"']?\s{0,4}[:=]\s{0,4})[^\r\n]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(bearer|basic)\s{1,8}[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # A JSON Web Token, whole or cut: it begins with the base64 of '{"'.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}"), HIDDEN),
    # name=value, name: value, "name": "value", name%3Dvalue.
    (
        re.compile(
            rf"((?:{_NAMES})[\w.-]{{0,32}})([\"']?\s{{0,4}}(?:=|:|%3D|%3A)\s{{0,4}})"
            r"(?:b?\"(?:[^\"\\\r\n]|\\.)*\"?|b?'(?:[^'\\\r\n]|\\.)*'?|[^\s&;,})\]]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    # PostgreSQL's DETAIL contains the values of the row that violated a constraint.
    (re.compile(r"(\bDETAIL:  )[\s\S]{1,8192}?(?=\n\n|\n[A-Z]+:  |\Z)"), rf"\1{HIDDEN}"),
    # The part of an e-mail address that names a person.
    (re.compile(r"[A-Za-z0-9._%+-]{1,64}(@|%40)(?=[A-Za-z0-9-]{1,63}\.[A-Za-z])", re.IGNORECASE), r"[e-mail]\1"),
)

_literals: tuple[str, ...] = ()  # all secrets in the settings, once they are read


def redact(value: Any, *, depth: int = 0) -> Any:
    """Return a copy of a JSON-like value without secrets; other objects are returned unchanged.

    Values of sensitive names in mappings are hidden. Text is cut at 16,384 characters and searched for secrets. Containers
    are cut at 200 items and 12 levels.
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "backslashreplace"))
    if depth > DEPTH_MAX:
        return HIDDEN
    if isinstance(value, Mapping):
        pairs = list(value.items())[:ITEMS_MAX]
        return {redact_name(name): redact_named(name, item, depth=depth + 1) for name, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth=depth + 1) for item in list(value)[:ITEMS_MAX]]
    return value


def redact_named(name: Any, value: Any, *, depth: int = 0) -> Any:
    """Return the value redacted, or hidden completely if its name is that of a secret."""
    if isinstance(name, str) and value is not None and not isinstance(value, bool) and is_sensitive(name):
        return HIDDEN
    return redact(value, depth=depth)


def redact_name(name: Any) -> Any:
    return redact_text(name) if isinstance(name, str) else name


@lru_cache(maxsize=1024)
def is_sensitive(name: str) -> bool:
    """Return whether a field of this name contains a secret."""
    return _SENSITIVE_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """Return the text with everything hidden that is or looks like a secret, and with the local parts of e-mail addresses."""
    if len(text) > TEXT_MAX:
        text = text[:TEXT_MAX] + "…"
    for literal in _literals or _literals_read():
        if literal in text:
            text = text.replace(literal, HIDDEN)
    lower = text.lower()
    if (
        any(map(lower.__contains__, _SUSPICIOUS)) or not text.isascii()
    ):  # some other letters equal ASCII ones without case
        for rule, replacement in _RULES:
            text = rule.sub(replacement, text)
    return text


def _literals_read() -> tuple[str, ...]:
    """Return all secrets in the settings, the longest first; none before the settings are loaded."""
    global _literals
    if settings.configured:
        found = {text for text in _settings_secrets() if len(text) >= _LITERAL_MIN}
        found |= {unquote(text) for text in found}
        _literals = tuple(sorted(found, key=len, reverse=True))
    return _literals


def _settings_secrets() -> list[str]:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS, settings.OBSERVABILITY_METRICS_TOKEN or ""]
    secrets += [str(database.get("PASSWORD") or "") for database in settings.DATABASES.values()]
    secrets += [entry["key"] for entry in settings.TOKENS_KEYS]
    secrets.append(settings.EMAIL_HOST_PASSWORD)
    stores = (
        settings.OBSERVABILITY_REDIS_URL or "",
        str(settings.CACHES["default"]["LOCATION"]),
        settings.CELERY_BROKER_URL,
    )
    secrets += [urlsplit(url).password or "" for url in stores]
    headers = (settings.OBSERVABILITY_OTEL_HEADERS or "").split(",")
    secrets += [header.partition("=")[2].strip() for header in headers]
    return secrets
