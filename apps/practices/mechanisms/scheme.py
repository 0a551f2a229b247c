"""The scheme the client used, by the word of our own proxies and nobody else's.

Setting ``TRUSTED_PROXIES`` decides who is ours, for the scheme here as for the client's address in
``apps.practices.mechanisms.proxies``. Loopback is an address like any other: behind an edge on the same host every client
comes from there.
"""

from itertools import takewhile

from django.conf import settings
from django.http import HttpRequest

from apps.practices.mechanisms.proxies import LONGEST_CHAIN, is_ours, parse, trusted_peer


def forwarded_scheme(request: HttpRequest) -> str | None:
    """``"http"`` or ``"https"`` as the outermost of our proxies reports it; None when none of ours said anything.

    Most proxies overwrite ``X-Forwarded-Proto``: one value alone is then the outermost's. Where they append, it is the
    n-th from the right, n being the number of our proxies on the way; what a client wrote itself stands further left.
    """
    written = request.META.get("HTTP_X_FORWARDED_PROTO")
    if not written or not trusted_peer(request):
        return None
    values = written.split(",")
    scheme = values[-min(trusted_hops(request), len(values))] if len(values) > 1 else written
    scheme = scheme.strip().lower()
    return scheme if scheme in ("http", "https") else None


def trusted_hops(request: HttpRequest) -> int:
    """How many proxies of ours a request passed that came from one of them, counted from the connection outwards."""
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return trusted
    networks = tuple(trusted)
    chain = request.META.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", LONGEST_CHAIN)[-LONGEST_CHAIN:]
    passed = takewhile(lambda hop: (address := parse(hop)) is not None and is_ours(address, networks), reversed(chain))
    return 1 + sum(1 for _ in passed)
