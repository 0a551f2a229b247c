"""tokens: one successor per refresh token, theft detected, forgeries and foreign pages refused, sign-out everywhere."""

import base64
import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tools.prove.client import Answer, Client
from tools.prove.sandbox import Account, Result, Sandbox

BOUND = 1.5  # seconds; the promise is SESSION_CHECK_SECONDS (1)
USES = 20


def prove(sandbox: Sandbox) -> Result:
    """Use one refresh token 20 times at once, replay it, forge tokens, write with cookies, and sign out."""
    client = sandbox.client()
    account = sandbox.account(client)
    with ThreadPoolExecutor(USES) as pool:
        answers = list(pool.map(lambda _: _refresh(client, account.refresh), range(USES)))
    statuses = dict(Counter(answer.status for answer in answers))
    successors = {answer.json()["refresh"] for answer in answers if answer.status == 200}
    latest = _refresh(client, next(iter(successors), "")).json().get("refresh", "")
    reused, ended = (_refresh(client, token).status for token in (account.refresh, latest))
    other = sandbox.account(client)
    forged = [client.get("/api/v1/me", token=token).status for token in _forgeries(other.access, other.refresh)]
    by_cookie = _by_cookie(client, other)
    # Both instances have just checked the session, so both have it in memory.
    before = _everywhere(sandbox, other.access)
    left = client.post("/api/v1/auth/logout", token=other.access).status
    time.sleep(BOUND)
    after = _everywhere(sandbox, other.access)
    return Result(
        did=(
            f"used a refresh token {USES} times at once, replayed it after its successor, used the successor's successor, "
            "forged 3 access tokens, signed in and wrote with cookies as a foreign page and as our own, signed out"
        ),
        saw=(
            f"{USES} uses {statuses}, successors {len(successors)}; replay {reused}, the latest token then {ended}; forgeries "
            f"{forged}; with cookies: foreign sign-in, write without CSRF token, with it, with a bearer token as well "
            f"{by_cookie}; before sign-out {before}, sign-out {left}, on the two instances {BOUND:g} s afterwards {after}"
        ),
        passed=(
            (statuses, len(successors)) == ({200: USES}, 1)
            and bool(latest)
            and (reused, ended) == (401, 401)
            and forged == [401, 401, 401]
            and by_cookie == [403, 403, 200, 400]
            and (before, left, after) == ([200, 200], 204, [401, 401])
        ),
    )


def _refresh(client: Client, token: str) -> Answer:
    return client.post("/api/v1/auth/refresh", {"refresh": token})


def _by_cookie(client: Client, account: Account) -> list[int]:
    """Return the statuses of a sign-in from a foreign page, and of writes with the cookies of a sign-in from our own."""
    login = {"email": account.email, "password": account.password, "transport": "cookie"}

    def sign_in(origin: str) -> Answer:
        return client.post("/api/v1/auth/login", login, headers={"Origin": origin})

    foreign, own = sign_in("https://evil.example"), sign_in(client.url)
    cookies = re.findall(r"(?:__Host-|__Secure-)?(?:access|refresh)=[^;,\s]+", own.headers.get("Set-Cookie", ""))
    sent = {"Cookie": "; ".join(cookies)}
    proven = {**sent, "X-CSRFToken": own.json().get("csrf_token", "")}
    name = {"name": "Ada"}
    writes = [
        client.request("PATCH", "/api/v1/me", document=name, headers=sent),
        client.request("PATCH", "/api/v1/me", document=name, headers=proven),
        client.request("PATCH", "/api/v1/me", document=name, headers=proven, token=account.access),
    ]
    return [foreign.status, *(write.status for write in writes)]


def _everywhere(sandbox: Sandbox, token: str) -> list[int]:
    """Return each instance's status for a token, called directly."""
    return [
        sandbox.client(web.url).get("/api/v1/me", token=token, headers=sandbox.as_edge()).status
        for web in sandbox.fleet.webs
    ]


def _forgeries(access: str, refresh: str) -> list[str]:
    """Return an unsigned token (``alg: none``), one with a wrong signature, and a refresh token used as an access token."""
    _, claims, signature = access.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    return [f"{none}.{claims}.", f"{access[: -len(signature)]}{'A' * len(signature)}", refresh]
