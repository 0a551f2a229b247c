"""The certificate of the service's public address, as clients see it: the edge's, if there is one."""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition
from urllib.parse import urlsplit

from cachetools import TTLCache, cached
from django.conf import settings
from prometheus_client.core import Metric

from apps.practices.observability.gauges import gauge, gauges_from

SECONDS = 300.0  # for which an answer is kept
WAIT_SECONDS = 1.0  # for the edge


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The host whose certificate was asked for, the days that are left, or why they are unknown."""

    host: str = ""
    days: float | None = None
    reason: str = ""


@cached(TTLCache(maxsize=1, ttl=SECONDS), condition=Condition())
def certificate() -> Certificate:
    """Return for how long the certificate at PUBLIC_URL is valid, asked at most every five minutes."""
    address = urlsplit(settings.PUBLIC_URL)
    host = address.hostname or ""
    if address.scheme != "https":
        return Certificate(host=host, reason="PUBLIC_URL is not an https address. Set it to the one that clients use.")
    try:
        with socket.create_connection((host, address.port or 443), timeout=WAIT_SECONDS) as plain:
            plain.settimeout(WAIT_SECONDS)
            with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as encrypted:
                found = encrypted.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Certificate(host=host, reason=f"This machine does not trust the certificate: {error.verify_message}.")
    except (OSError, ValueError) as error:
        return Certificate(host=host, reason=f"{host} did not answer this machine: {error}.")
    expires = ssl.cert_time_to_seconds(str(found["notAfter"]))
    return Certificate(host=host, days=(expires - time.time()) / 86_400)


def _gauges() -> Sequence[Metric]:
    days = certificate().days
    values = [] if days is None else [(dict[str, str](), days)]
    return [gauge("certificate_days", "Days until the certificate at PUBLIC_URL expires.", values)]


gauges_from("certificate", _gauges)
