"""throttling (131): a limit counts exactly under concurrency, whatever address is claimed; guesses at one account add up."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tools.prove.ground import Evidence, Ground

LIMIT, WINDOW = 100, 900  # THROTTLE_ANON's default
REQUESTS = 140
FREE, GUESSES = 10, 16  # tries at an account before the first refusal, and those made here


def prove(ground: Ground) -> Evidence:
    """This function will send more anonymous requests than one address may, and guess at one account from many addresses."""
    client = ground.stranger()
    started = time.monotonic()

    def ask(number: int) -> tuple[int, bool]:
        claim = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        answer = client.get("/api/v1/sample/notes", headers=claim)
        refused_well = answer.is_problem and "Retry-After" in answer.headers and "RateLimit" in answer.headers
        return answer.status, answer.status == 200 or refused_well

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(REQUESTS)))
    # One more becomes free every WINDOW / LIMIT seconds (GCRA).
    at_most = LIMIT + 1 + int((time.monotonic() - started) * LIMIT / WINDOW)
    passed = sum(status == 200 for status, _ in answers)
    refused = sum(status == 429 for status, _ in answers)
    guesses, signed_in, seconds = _guessed(ground)
    # The refusals last 1, 2, 4 … seconds, and after each of them one guess is looked at.
    looked_at = FREE + int(seconds).bit_length()
    return Evidence(
        did=(
            f"sent {REQUESTS} anonymous requests at once, each with a forged X-Forwarded-For, against {LIMIT} per 15 minutes; "
            f"guessed {GUESSES} times at one account, each time from another address"
        ),
        saw=(
            f"{passed} passed, {refused} refused with 429, Retry-After and RateLimit; guesses {dict(guesses)}, "
            f"and who is signed in to that account {signed_in}"
        ),
        holds=LIMIT <= passed <= at_most
        and passed + refused == REQUESTS
        and all(well for _, well in answers)
        and FREE <= guesses[401] <= looked_at
        and guesses[401] + guesses[429] == GUESSES
        and signed_in == 200,
    )


def _guessed(ground: Ground) -> tuple[Counter[int], int, float]:
    """What guesses were answered, by status; what the account's owner was, afterwards; how many seconds the guesses took."""
    owner = ground.stranger()
    account = ground.account(owner)
    started = time.monotonic()
    guesses = Counter(
        ground.stranger().post("/api/v1/auth/login", {"email": account.email, "password": f"guess {number}"}).status
        for number in range(GUESSES)
    )
    seconds = time.monotonic() - started
    return guesses, owner.get("/api/v1/me", token=account.access).status, seconds
