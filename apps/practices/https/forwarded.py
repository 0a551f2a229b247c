"""Which ``X-Forwarded-*`` values are believed: those written by our own proxies, never by the client.

Setting ``TRUSTED_PROXIES``: a count of proxies in front of every process, or their networks. Each proxy appends what it saw, so
the value of the outermost trusted proxy is the n-th from the right, n being the number of trusted hops. Loopback is a network
like any other: behind an edge on the same host every client comes from there.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings

Networks = tuple[IPv4Network | IPv6Network, ...]

# More hops than any real chain has: bounds the work that a client's own header can cause.
_LONGEST_CHAIN = 10


def trusted_hops(meta: Mapping[str, str]) -> int:
    """How many proxies of ours the request passed; 0 means that nothing forwarded is believed.

    ``meta`` is ``request.META`` or a WSGI environ. With networks, hops are counted from the peer inwards along
    ``X-Forwarded-For`` until an address is not ours.
    """
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return trusted
    networks = _networks(tuple(trusted))
    if not _within(meta.get("REMOTE_ADDR", ""), networks):
        return 0
    hops = 1
    for address in reversed(forwarded_values(meta, "HTTP_X_FORWARDED_FOR")):
        if not _within(address, networks):
            break
        hops += 1
    return hops


def forwarded_values(meta: Mapping[str, str], name: str) -> list[str]:
    """The comma-separated values of a header, the nearest hop last. At most the last ten."""
    header = meta.get(name)
    if not header:
        return []
    return [value.strip() for value in header.rsplit(",", _LONGEST_CHAIN)[-_LONGEST_CHAIN:]]


def trusted_value(values: Sequence[str], hops: int) -> str | None:
    """What the outermost trusted proxy saw: the ``hops``-th value from the right, None when there are fewer."""
    return values[-hops] if 0 < hops <= len(values) else None


def forwarded_scheme(meta: Mapping[str, str]) -> str | None:
    """The scheme the client used, by our proxies' word: ``"http"`` or ``"https"``; None when none of ours said it.

    Most proxies overwrite ``X-Forwarded-Proto`` instead of appending to it: one value alone is then the outermost's.
    """
    if "HTTP_X_FORWARDED_PROTO" not in meta or not (hops := trusted_hops(meta)):
        return None
    values = forwarded_values(meta, "HTTP_X_FORWARDED_PROTO")
    scheme = trusted_value(values, min(hops, len(values)))
    return scheme.lower() if scheme and scheme.lower() in ("http", "https") else None


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> Networks:
    return tuple(ip_network(network, strict=False) for network in trusted)


@lru_cache(maxsize=4096)
def _within(address: str, networks: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
