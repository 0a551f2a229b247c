"""The client's scheme, trusting X-Forwarded-Proto only from our own proxies.

``TRUSTED_PROXIES`` names them, as in ``proxies.py``. Loopback is not trusted by default: behind a proxy on the same host
every client comes from there.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from django.conf import settings

from apps.practices.mechanisms.proxies import LONGEST_CHAIN, is_ours, parse, trusted_peer


def forwarded_scheme(meta: Mapping[str, Any]) -> str | None:
    """Return ``"http"`` or ``"https"`` as reported by the outermost trusted proxy; None if no trusted proxy reported it.

    Most proxies overwrite ``X-Forwarded-Proto``, so that a single value is the outermost proxy's. Where proxies append, it
    is the n-th value from the right, n being the number of trusted proxies. Anything a client wrote is further left.
    """
    written = meta.get("HTTP_X_FORWARDED_PROTO")
    if not written or not trusted_peer(meta):
        return None
    values = written.split(",")
    scheme = values[-min(trusted_hops(meta), len(values))] if len(values) > 1 else written
    scheme = scheme.strip().lower()
    return scheme if scheme in ("http", "https") else None


def trusted_hops(meta: Mapping[str, Any]) -> int:
    """Return the number of trusted proxies that a request from one of them has passed, counted from the connection."""
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return trusted
    networks = tuple(trusted)
    chain = meta.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", LONGEST_CHAIN)[-LONGEST_CHAIN:]
    passed = takewhile(lambda hop: (address := parse(hop)) is not None and is_ours(address, networks), reversed(chain))
    return 1 + sum(1 for _ in passed)
