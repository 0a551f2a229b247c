"""The kinds of value that an environment variable can have. Each parses an operator's text.

A kind raises ``ValueError`` with a message that says what to write. It never repeats the text, which may be secret.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import quote

import idna

Kind = Callable[[str], Any]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_RATE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ORIGIN = re.compile(r"(?P<scheme>https?)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:(?P<port>[1-9]\d{0,4}))?")
_OWN_PORTS = {"http": "80", "https": "443"}


def text(value: str) -> str:
    """Return the text as it is."""
    return value


def boolean(value: str) -> bool:
    """Return True or False. Raise ``ValueError`` for anything but the usual words."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("write true or false")


def integer(*, at_least: int, at_most: int) -> Kind:
    """Return a kind: a whole number within bounds, both included."""
    return _within(int, "a whole number", at_least, at_most)


def number(*, at_least: int, at_most: int) -> Kind:
    """Return a kind: a decimal number within bounds, both included."""
    return _within(float, "a number", at_least, at_most)


def _within(read: Callable[[str], float], noun: str, at_least: int, at_most: int) -> Kind:
    def parse(value: str) -> float:
        try:
            parsed = read(value.strip())
        except ValueError:
            parsed = at_least - 1
        if not at_least <= parsed <= at_most:
            raise ValueError(f"write {noun} from {at_least} to {at_most}")
        return parsed

    return parse


def choice(*words: str) -> Kind:
    """Return a kind: one of these words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return value

    return parse


def listed(value: str) -> list[str]:
    """Return texts separated by commas, without the spaces around them."""
    return [item.strip() for item in value.split(",") if item.strip()]


def hosts(value: str) -> list[str]:
    """Return host names for Django's ALLOWED_HOSTS: no scheme, no port, no path."""
    names = listed(value)
    if any("/" in name or " " in name or (name.count(":") == 1) for name in names):
        raise ValueError("write host names only, separated by commas: example.com,www.example.com")
    return names


def redis_prefix(value: str) -> str:
    """Return the prefix of keys in Redis: lower case, without ``https://``, spaces as ``-``, the rest percent-encoded.

    Different names get different prefixes, and no character has a meaning in a pattern of keys.
    """
    name = re.sub(r"https?://", "", value.strip().lower())
    prefix = quote(re.sub(r"\s+", "-", name), safe=":").strip("-:")
    if not prefix:
        raise ValueError("write letters and digits: my-api-prod")
    return prefix


def listening(value: str) -> str:
    """Return an IP address or a host name to listen on, or ``unix:/path`` of a socket, in the form of gunicorn's ``bind``."""
    address = value.strip()
    if address.startswith("unix:/") and len(address.removeprefix("unix:").encode()) <= 107:  # unix(7): sun_path
        return address
    try:
        parsed = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        return f"[{parsed}]" if parsed.version == 6 else str(parsed)
    except ValueError:
        if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", address) and not re.fullmatch(r"[\d.]+", address):
            return address
    raise ValueError(
        "write an address without a port (127.0.0.1, ::1, localhost), or unix:/path of at most 107 bytes; set the port with PORT"
    )


def origins(value: str) -> list[str]:
    """Return web origins (RFC 6454) in the form that browsers send, since they are compared exactly; no ``*``, no ``null``."""
    found = listed(value)
    if not all(_is_origin(origin) for origin in found):
        raise ValueError(
            "write origins separated by commas: https://app.example.com,http://localhost:3000 (lower case, no path, "
            "no wildcard, no default port)"
        )
    return found


def _is_origin(text: str) -> bool:
    found = _ORIGIN.fullmatch(text)
    return found is not None and found["port"] != _OWN_PORTS[found["scheme"]]


def mailbox(value: str) -> str:
    """Return one mail address, with or without a name: ``Shipshape <noreply@example.com>``."""
    name, address = parseaddr(value.strip())
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", address) or any(ord(char) < 32 for char in name):
        raise ValueError("write one address: noreply@example.com or Shipshape <noreply@example.com>")
    domain = address.rpartition("@")[2]
    if domain.isascii():
        return value.strip()
    try:  # Django would use Python's codec (IDNA 2003), which turns faß.example into fass.example
        return value.strip().replace(f"@{domain}", f"@{idna.encode(domain, uts46=True).decode('ascii')}")
    except UnicodeError as error:
        raise ValueError("write a domain name after the @") from error


def mailboxes(value: str) -> list[str]:
    """Return mail addresses separated by commas."""
    return [mailbox(address) for address in listed(value)]


def rate(value: str) -> tuple[int, int]:
    """Return a rate such as ``100/15m`` as a pair: requests, seconds."""
    match = re.fullmatch(r"\s*([1-9]\d{0,8})/(\d{0,5})([smhd])\s*", value)
    if not match:
        raise ValueError("write a rate such as 100/15m (requests per time; s, m, h or d)")
    return int(match[1]), int(match[2] or 1) * _RATE_UNITS[match[3]]


def proxies(value: str) -> int | list[str]:
    """Return the number of proxies in front of the service, or their networks in CIDR form."""
    try:
        if re.fullmatch(r"\s*\d{1,2}\s*", value):
            return int(value)
        return [str(ipaddress.ip_network(network, strict=False)) for network in listed(value)]
    except ValueError as error:
        raise ValueError(
            "write a number (Heroku 1, Cloudflare before Heroku 2, none 0) or networks: 10.0.0.0/8"
        ) from error


def callers(value: str) -> str | list[str]:
    """Return the networks of callers in CIDR form, or the word ``proxies``."""
    if value.strip().lower() == "proxies":
        return "proxies"
    found = proxies(value)
    if isinstance(found, int):
        raise ValueError("write networks, separated by commas: 10.0.0.0/8, or the word proxies")
    return found


def key_ring(value: str) -> list[dict[str, Any]]:
    """Return the keys of a JSON list of ``{kid, key, sign_from}``, with ``sign_from`` as a time. No message repeats a key."""
    try:
        entries = json.loads(value)
    except ValueError:
        entries = None
    if not isinstance(entries, list) or not entries:
        raise ValueError("write a JSON list of objects with kid, key and sign_from, at least one")
    keys = [_ring_key(entry) for entry in entries]
    if len({key["kid"] for key in keys}) != len(keys):
        raise ValueError("two keys have the same kid: give each its own")
    if all(key["sign_from"] > datetime.now(UTC) for key in keys):
        raise ValueError("no key can sign yet: set the sign_from of one to a time in the past")
    return keys


def _ring_key(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict) or set(entry) != {"kid", "key", "sign_from"}:
        raise ValueError("write each key as an object with kid, key and sign_from, and nothing else")
    kid, key, sign_from = entry["kid"], entry["key"], entry["sign_from"]
    if not isinstance(kid, str) or not 0 < len(kid) <= 64:
        raise ValueError("write each kid as a string of 1 to 64 characters")
    if (
        not isinstance(key, str) or len(key.encode()) < 32 or len(set(key)) < 8
    ):  # RFC 7518, 3.2: at least as long as the hash
        raise ValueError(
            f"the key of {kid} is weak: generate one with python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    try:
        moment = datetime.fromisoformat(sign_from)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"write the sign_from of {kid} as a time with a zone: 2026-11-01T00:00:00Z")
    return {"kid": kid, "key": key, "sign_from": moment}
