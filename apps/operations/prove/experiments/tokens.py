"""tokens (140): rotation, reuse, forgery and sign-out, each at the next request."""

import base64
import json
import time

from apps.operations.prove.ground import Evidence, Ground

BOUND = 1.5  # seconds; the promise is SESSION_CHECK_SECONDS (1)


def prove(ground: Ground) -> Evidence:
    """This function will rotate a refresh token, use old ones, forge an access token, and sign out."""
    client = ground.stranger()
    account = ground.account(client)

    def refresh(token: str) -> tuple[int, dict[str, str]]:
        answer = client.post("/api/v1/auth/refresh", {"refresh": token})
        return answer.status, answer.json() if answer.status == 200 else {}

    rotated = refresh(account.refresh)[1]
    again = refresh(rotated.get("refresh", ""))[1]
    reused = refresh(account.refresh)[0]
    ended = refresh(again.get("refresh", ""))[0]
    other = ground.account(client)
    forged = [client.get("/api/v1/me", token=token).status for token in _forgeries(other.access, other.refresh)]
    # Both instances have just seen the sign-in, so both would remember it for longer than they may.
    before = _everywhere(ground, other.access)
    left = client.post("/api/v1/auth/logout", token=other.access).status
    time.sleep(BOUND)
    after = _everywhere(ground, other.access)
    return Evidence(
        did="rotated twice, used the first refresh token again, tried its descendant, forged 3 access tokens, signed out",
        saw=(
            f"reuse {reused}, its descendant {ended}; forgeries {forged}; before sign-out {before}, sign-out {left}, "
            f"on the two instances {BOUND:g} s afterwards {after}"
        ),
        holds=(
            bool(again)
            and (reused, ended) == (401, 401)
            and forged == [401, 401, 401]
            and (before, left, after) == ([200, 200], 204, [401, 401])
        ),
    )


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
