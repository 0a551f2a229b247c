"""Who is calling: the client's address behind the proxies that are ours, and nobody else's word for it.

TRUSTED_PROXIES is a count or a list of networks. As a count n, the client is the n-th address from the right of
X-Forwarded-For: each of our proxies appended the address it saw, so whatever a client wrote itself stands further left.
As networks, it is the first address from the right that is not one of ours, and the header counts only when the connection
itself comes from one of ours. Whatever cannot be read falls back to the connection's own address.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NOWHERE = "0.0.0.0"  # nosec B104 # noqa: S104 - not a place to listen: the bucket of callers without an address (Unix sockets)
IPV6_BLOCK = 64  # bits: what one household or server is given (RFC 6177), so the unit that one client can use up
LONGEST_CHAIN = 32


def client_address(request: HttpRequest) -> str:
    """Return the client's address in canonical text; IPv4 within IPv6 is written as IPv4."""
    return client_address_and_bucket(request)[0]


def client_address_and_bucket(request: HttpRequest) -> tuple[str, str]:
    """Return the client's address, and what limits count it by: the address, or of IPv6 its network (``2001:db8::/64``)."""
    return _written(_client(request))


def trusted_peer(request: HttpRequest) -> bool:
    """Whether the connection comes from a proxy of ours, so that its X-Forwarded-Proto is to be believed.

    With a count above 0 every connection does: the operator promises that nothing reaches the service past the proxies.
    """
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return trusted > 0
    peer = parse(request.META.get("REMOTE_ADDR", ""))
    return peer is not None and is_ours(peer, tuple(trusted or ()))


def _client(request: HttpRequest) -> Address | None:
    peer = parse(request.META.get("REMOTE_ADDR", ""))
    chain = request.META.get("HTTP_X_FORWARDED_FOR", "")
    trusted = settings.TRUSTED_PROXIES
    if not chain or not trusted:
        return peer
    if isinstance(trusted, int):
        return _counted(chain, trusted) or peer
    return _walked(chain, peer, tuple(trusted))


def _counted(chain: str, count: int) -> Address | None:
    """The count-th from the right; None when the chain is shorter: then some proxy was passed by."""
    hops = chain.rsplit(",", count)
    if len(hops) == count + 1:
        return parse(hops[1])
    return parse(hops[0]) if len(hops) == count else None


def _walked(chain: str, peer: Address | None, networks: tuple[str, ...]) -> Address | None:
    """From the right, the first that is not ours; as far as the chain can be read."""
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
    """An address from text such as ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``; None if it is none."""
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
def is_ours(address: Address, networks: Sequence[str]) -> bool:
    """Whether an address lies in one of the networks of TRUSTED_PROXIES."""
    return any(address in network for network in _networks(tuple(networks)))


@lru_cache(maxsize=8)
def _networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)
