"""The client's address, trusting X-Forwarded-For only from our own proxies.

TRUSTED_PROXIES is a count or a list of networks. With a count n, the client is the n-th address from the right of
X-Forwarded-For: each trusted proxy appends the address it saw, so anything a client wrote is further left. With networks,
it is the first address from the right outside them, and the header counts only if the connection comes from one of them.
If the header cannot be parsed, the client is the peer of the connection.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NOWHERE = "0.0.0.0"  # nosec B104 # noqa: S104 - nothing listens on it; it counts clients without an address (Unix sockets)
IPV6_BLOCK = 64  # bits of the network that one household or server gets (RFC 6177), all of which one client can use
LONGEST_CHAIN = 32


def client_address(request: HttpRequest) -> str:
    """Return the client's address in canonical form; an IPv4-mapped IPv6 address becomes IPv4."""
    return client_address_and_bucket(request.META)[0]


def client_address_and_bucket(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the client's address, and what limits count by: the address, or the IPv6 network, such as ``2001:db8::/64``.

    ``meta`` is the WSGI environ, or ``request.META``, in all functions.
    """
    return _written(_client(meta))


def trusted_peer(meta: Mapping[str, Any]) -> bool:
    """Return whether the connection comes from a trusted proxy.

    With a count above 0 every connection does: the operator guarantees that clients cannot bypass the proxies.
    """
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return trusted > 0
    peer = parse(meta.get("REMOTE_ADDR", ""))
    return peer is not None and is_ours(peer, tuple(trusted or ()))


def _client(meta: Mapping[str, Any]) -> Address | None:
    peer = parse(meta.get("REMOTE_ADDR", ""))
    chain = meta.get("HTTP_X_FORWARDED_FOR", "")
    trusted = settings.TRUSTED_PROXIES
    if not chain or not trusted:
        return peer
    if isinstance(trusted, int):
        return _counted(chain, trusted) or peer
    return _walked(chain, peer, tuple(trusted))


def _counted(chain: str, count: int) -> Address | None:
    """Return the ``count``-th address from the right; None if the chain is shorter, because a proxy was bypassed."""
    hops = chain.rsplit(",", count)
    if len(hops) == count + 1:
        return parse(hops[1])
    return parse(hops[0]) if len(hops) == count else None


def _walked(chain: str, peer: Address | None, networks: tuple[str, ...]) -> Address | None:
    """Return the first address from the right outside ``networks``; else, or for an invalid chain, the peer."""
    if peer is None or not is_ours(peer, networks):
        return peer
    for hop in reversed(chain.rsplit(",", LONGEST_CHAIN)):
        address = parse(hop)
        if address is None:
            return peer
        if not is_ours(address, networks):
            return address
    return peer


@lru_cache(maxsize=4096)
def parse(text: str) -> Address | None:
    """Parse text such as ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``; return None if invalid."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _written(address: Address | None) -> tuple[str, str]:
    text = str(address or NOWHERE)
    if isinstance(address, ipaddress.IPv6Address):
        return text, str(ipaddress.IPv6Network((address, IPV6_BLOCK), strict=False))
    return text, text


@lru_cache(maxsize=4096)
def address_shown(address: str, policy: str) -> str | None:
    """Return a client address in the form that LOG_ADDRESSES allows: ``full``, ``truncated`` (/24, /48), or None for ``none``."""
    if policy == "none":
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if policy == "full":
        return str(parsed)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False).network_address)


@lru_cache(maxsize=4096)
def is_ours(address: Address, networks: Sequence[str]) -> bool:
    """Return whether an address is in one of the networks."""
    return any(address in network for network in _networks(tuple(networks)))


@lru_cache(maxsize=8)
def _networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)
