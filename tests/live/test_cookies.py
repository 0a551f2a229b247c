"""Cookie mode on the wire: the bytes that leave the edge, and two instances that share sessions."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fleet import fleet_running
from tools.fleet import Fleet
from tools.stack import Stack

ACCOUNT = {"email": "ada@example.com", "password": "tide tables and lanterns"}
TOKEN = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
DATE = r"expires=\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
HELD = {
    "access": rf"__Host-access=({TOKEN}); {DATE}; HttpOnly; Max-Age=900; Path=/; SameSite=Lax; Secure",
    "refresh": rf"__Secure-refresh=({TOKEN}); {DATE}; HttpOnly; Max-Age=1209\d\d\d; Path=/api/v1/auth/; SameSite=Lax; Secure",
    "binding": rf"__Host-binding=([0-9a-f]{{64}}); {DATE}; HttpOnly; Max-Age=1209\d\d\d; Path=/; SameSite=Lax; Secure",
}
GONE = {
    '__Host-binding=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax; Secure',
    '__Host-access=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax; Secure',
    '__Secure-refresh=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/api/v1/auth/; SameSite=Lax; Secure',
}


@pytest.fixture(scope="module")
def service(stack: Stack) -> Iterator[Fleet]:
    with fleet_running(stack) as fleet:
        status, _, body = ask(fleet, "POST", "register", body=ACCOUNT)
        assert status == 201, body
        yield fleet


def ask(
    fleet: Fleet, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, list[str], Any]:
    """One request through the edge: status, each Set-Cookie as it came, and the body."""
    parts = urlsplit(fleet.url)
    connection = http.client.HTTPSConnection(parts.netloc, timeout=30, context=fleet.ssl_context())
    sent = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(
            method, f"/api/v1/auth/{path}", json.dumps(body) if body is not None else None, {**sent, **(headers or {})}
        )
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    is_json = "json" in response.headers.get("Content-Type", "")  # a server's own refusal is not
    return response.status, response.headers.get_all("Set-Cookie") or [], json.loads(text) if is_json else None


def held(lines: list[str]) -> dict[str, str]:
    """Return the values of an answer that sets the three cookies exactly as documented."""
    lines = [line for line in lines if not line.startswith("__Host-device=")]  # set at sign-in, not at a refresh
    assert len(lines) == 3, lines
    found = {}
    for name, pattern in HELD.items():
        matches = [match for line in lines if (match := re.fullmatch(pattern, line))]
        assert len(matches) == 1, (name, lines)
        found[name] = matches[0][1]
    return found


def cookie(tokens: dict[str, str]) -> str:
    return f"__Host-access={tokens['access']}; __Secure-refresh={tokens['refresh']}; __Host-binding={tokens['binding']}"


def test_the_cookies_leave_the_edge_as_documented_and_work_on_every_instance(service: Fleet) -> None:
    own = {"Origin": service.url}
    status, lines, body = ask(service, "POST", "login", body={**ACCOUNT, "transport": "cookie"}, headers=own)
    assert status == 200, body
    tokens = held(lines)
    for _ in range(6):  # whichever instance answers
        status, lines, body = ask(service, "POST", "refresh", headers={**own, "Cookie": cookie(tokens)})
        assert status == 200, body
        tokens = held(lines)
        status, lines, read = ask(service, "GET", "csrf", headers={"Cookie": cookie(tokens)})
        assert (status, lines, read) == (200, [], {"csrf_token": body["csrf_token"]})
    plain = cookie(tokens).replace("__Host-", "").replace("__Secure-", "")
    assert ask(service, "GET", "csrf", headers={"Cookie": plain})[0] == 401  # the names of development are nothing here
    status, lines, body = ask(
        service, "POST", "logout", headers={"Cookie": cookie(tokens), "X-CSRFToken": read["csrf_token"]}
    )
    assert (status, set(lines), body) == (204, GONE, None)
    status, lines, body = ask(service, "POST", "refresh", headers={**own, "Cookie": cookie(tokens)})
    assert (status, set(lines)) == (401, GONE)
    assert body["type"] == f"{service.url}/problems/token-refused"


def test_refusals_of_what_a_neighbour_planted_are_problems(service: Fleet) -> None:
    own = {"Origin": service.url}
    _, lines, body = ask(service, "POST", "login", body={**ACCOUNT, "transport": "cookie"}, headers=own)
    mine = held(lines)
    _, lines, _ = ask(service, "POST", "login", body={**ACCOUNT, "transport": "cookie"}, headers=own)
    theirs = held(lines)
    tossed = f"__Secure-refresh={theirs['refresh']}; {cookie(mine)}"
    for given, status, kind in (
        ({**own, "Cookie": tossed}, 400, "cookie-repeated"),
        ({"Origin": "null", "Cookie": cookie(mine)}, 403, "csrf-origin"),
        ({"Cookie": cookie(mine)}, 403, "csrf-origin"),
        ({**own, "Cookie": cookie(mine), "Authorization": f"Bearer {mine['access']}"}, 400, "two-transports"),
        (
            {**own, "Cookie": f"__Secure-refresh={theirs['refresh']}; __Host-binding={mine['binding']}"},
            401,
            "token-refused",
        ),
        ({**own, "Cookie": f"__Secure-refresh={'a' * 6000}"}, 401, "not-authenticated"),
    ):
        found, lines, document = ask(service, "POST", "refresh", headers=given)
        assert found == status, document
        assert document["type"] == f"{service.url}/problems/{kind}"
        assert set(lines) == (GONE if kind in ("cookie-repeated", "token-refused") else set())
    # Larger than any server takes: refused before the application, and nothing breaks.
    assert ask(service, "POST", "refresh", headers={**own, "Cookie": "a" * 15_000})[0] in (400, 431)
    assert ask(service, "POST", "logout", headers={"Cookie": cookie(mine), "X-CSRFToken": body["csrf_token"]})[0] == 204
