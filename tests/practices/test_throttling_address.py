"""throttling: the client's address."""

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from apps.practices.mechanisms.proxies import client_address, client_address_and_bucket, trusted_peer


def request_from(peer: str, chain: str | None = None) -> HttpRequest:
    headers = {} if chain is None else {"HTTP_X_FORWARDED_FOR": chain}
    return RequestFactory().get("/", REMOTE_ADDR=peer, **headers)


@pytest.mark.parametrize(
    ("trusted", "peer", "chain", "client"),
    [
        # No proxy: anyone could have written the header.
        (0, "192.0.2.1", "10.0.0.1", "192.0.2.1"),
        (0, "192.0.2.1", None, "192.0.2.1"),
        # One proxy: it appended the last address.
        (1, "10.0.0.9", "192.0.2.1", "192.0.2.1"),
        (1, "10.0.0.9", "1.1.1.1, 192.0.2.1", "192.0.2.1"),
        (1, "10.0.0.9", "1.1.1.1,2.2.2.2,,, 192.0.2.1 ", "192.0.2.1"),
        (1, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        # Two.
        (2, "10.0.0.9", "1.1.1.1, 192.0.2.1, 10.0.0.8", "192.0.2.1"),
        (2, "10.0.0.9", "192.0.2.1, 10.0.0.8", "192.0.2.1"),
        (2, "10.0.0.9", "192.0.2.1", "10.0.0.9"),  # one proxy was bypassed
        # Headers that cannot be parsed.
        (1, "10.0.0.9", "garbage", "10.0.0.9"),
        (1, "10.0.0.9", "1.1.1.1, unknown", "10.0.0.9"),
        (1, "10.0.0.9", "", "10.0.0.9"),
        (1, "10.0.0.9", "1.1.1.1, ", "10.0.0.9"),
        (1, "", "x", "0.0.0.0"),
        (0, "", None, "0.0.0.0"),
        # Ports, brackets, scopes, IPv4-mapped IPv6, long forms.
        (1, "10.0.0.9", "192.0.2.1:8080", "192.0.2.1"),
        (1, "10.0.0.9", "[2001:db8::1]:8080", "2001:db8::1"),
        (1, "10.0.0.9", "fe80::1%eth0", "fe80::1"),
        (1, "10.0.0.9", "::ffff:192.0.2.1", "192.0.2.1"),
        (0, "::ffff:192.0.2.1", None, "192.0.2.1"),
        (0, "2001:0DB8:0:0::1", None, "2001:db8::1"),
        # Networks: the first address from the right outside them, if the connection comes from one of them.
        (["10.0.0.0/8"], "10.0.0.9", "1.1.1.1, 192.0.2.1, 10.1.1.1", "192.0.2.1"),
        (["10.0.0.0/8"], "192.0.2.7", "1.1.1.1", "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.9", "10.1.1.1, 10.2.2.2", "10.0.0.9"),
        (["10.0.0.0/8"], "10.0.0.9", "192.0.2.1, garbage", "10.0.0.9"),
        (["10.0.0.0/8", "fd00::/8"], "fd00::1", "192.0.2.1", "192.0.2.1"),
        (["10.0.0.0/8"], "::ffff:10.0.0.9", "192.0.2.1", "192.0.2.1"),
        (["10.0.0.0/8"], "10.0.0.9", ", ".join(["1.1.1.1"] + ["10.0.0.1"] * 5000), "10.0.0.9"),
    ],
)
def test_client_address(settings: Any, trusted: int | list[str], peer: str, chain: str | None, client: str) -> None:
    settings.TRUSTED_PROXIES = trusted
    assert client_address(request_from(peer, chain)) == client


def test_no_other_header_counts(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    names = ("HTTP_X_REAL_IP", "HTTP_CLIENT_IP", "HTTP_FORWARDED", "HTTP_X_CLIENT_IP", "HTTP_CF_CONNECTING_IP")
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", **dict.fromkeys(names, "1.1.1.1"))
    assert client_address(request) == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "bucket"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "0.0.0.0"),
    ],
)
def test_client_bucket(peer: str, bucket: str) -> None:
    assert client_address_and_bucket(request_from(peer).META)[1] == bucket


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        (0, "127.0.0.1", False),
        (1, "192.0.2.1", True),
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["10.0.0.0/8"], "127.0.0.1", False),
        (["10.0.0.0/8"], "", False),
    ],
)
def test_trusted_peer(settings: Any, trusted: int | list[str], peer: str, believed: bool) -> None:
    settings.TRUSTED_PROXIES = trusted
    assert trusted_peer(request_from(peer, "1.1.1.1").META) is believed
