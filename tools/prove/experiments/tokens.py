"""tokens (140): one successor for many uses, theft noticed, forgeries and foreign pages refused, sign-out everywhere."""

import base64
import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tools.prove.client import Answer, Client
from tools.prove.ground import Account, Evidence, Ground

BOUND = 1.5  # seconds; the promise is SESSION_CHECK_SECONDS (1)
USES = 20


def prove(ground: Ground) -> Evidence:
    """This function will use one refresh token 20 times at once, replay it, forge tokens, write by cookie, and sign out."""
    client = ground.stranger()
    account = ground.account(client)
    with ThreadPoolExecutor(USES) as pool:
        answers = list(pool.map(lambda _: _refresh(client, account.refresh), range(USES)))
    statuses = dict(Counter(answer.status for answer in answers))
    successors = {answer.json()["refresh"] for answer in answers if answer.status == 200}
    latest = _refresh(client, next(iter(successors), "")).json().get("refresh", "")
    reused, ended = (_refresh(client, token).status for token in (account.refresh, latest))
    other = ground.account(client)
    forged = [client.get("/api/v1/me", token=token).status for token in _forgeries(other.access, other.refresh)]
    by_cookie = _by_cookie(client, other)
    # Both instances have just seen the sign-in, so both would remember it for longer than they may.
    before = _everywhere(ground, other.access)
    left = client.post("/api/v1/auth/logout", token=other.access).status
    time.sleep(BOUND)
    after = _everywhere(ground, other.access)
    return Evidence(
        did=(
            f"used a refresh token {USES} times at once, again after its successor, tried the descendant, forged 3 access "
            "tokens, signed in and wrote by cookie as a foreign page and as our own, signed out"
        ),
        saw=(
            f"{USES} uses {statuses}, successors {len(successors)}; reuse {reused}, its descendant {ended}; forgeries "
            f"{forged}; by cookie: foreign sign-in, write without CSRF token, write with it, with a bearer token as well "
            f"{by_cookie}; before sign-out {before}, sign-out {left}, on the two instances {BOUND:g} s afterwards {after}"
        ),
        holds=(
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
    """The statuses of a sign-in from a page elsewhere, and of writes with the cookies of one from a page of ours."""
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


def _everywhere(ground: Ground, token: str) -> list[int]:
    """What each instance answers to a token, asked directly."""
    return [
        ground.stranger(web.url).get("/api/v1/me", token=token, headers=ground.as_edge()).status
        for web in ground.fleet.webs
    ]


def _forgeries(access: str, refresh: str) -> list[str]:
    """Unsigned (alg none), signed by nobody, and a refresh token where an access token belongs."""
    _, claims, signature = access.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    return [f"{none}.{claims}.", f"{access[: -len(signature)]}{'A' * len(signature)}", refresh]
