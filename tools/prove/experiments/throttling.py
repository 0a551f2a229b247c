"""throttling: a limit is exact under concurrency, whatever address is claimed; login attempts count per account."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tools.prove.client import Client
from tools.prove.sandbox import ADDRESSES, Result, Sandbox, wait_until

LIMIT, WINDOW = 100, 900  # THROTTLE_ANON's default
REQUESTS = 140
FREE, GUESSES = 10, 16  # attempts at an account before the first refusal, and attempts made here


def prove(sandbox: Sandbox) -> Result:
    """Exceed the anonymous limit of one address, and guess one account's password from many addresses."""
    address = next(ADDRESSES)
    instances = [Client(web.url, address=address) for web in sandbox.fleet.webs]
    wait_until(lambda: _is_count_shared(instances) or None, seconds=10, every=1)
    client = sandbox.client()
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
    guesses, signed_in, seconds = _guessed(sandbox)
    # Refusals last 1, 2, 4 … seconds, and after each of them one guess is checked.
    most_checked = FREE + int(seconds).bit_length()
    return Result(
        did=(
            f"sent {REQUESTS} anonymous requests at once, each with a forged X-Forwarded-For, against {LIMIT} per 15 minutes; "
            f"tried {GUESSES} wrong passwords for one account, each from another address"
        ),
        saw=(
            f"{passed} passed, {refused} refused with 429, Retry-After and RateLimit; wrong passwords {dict(guesses)}, "
            f"the account's own session {signed_in}"
        ),
        passed=LIMIT <= passed <= at_most
        and passed + refused == REQUESTS
        and all(well for _, well in answers)
        and FREE <= guesses[401] <= most_checked
        and guesses[401] + guesses[429] == GUESSES
        and signed_in == 200,
    )


def _is_count_shared(instances: list[Client]) -> bool:
    """Return whether the instances count in Redis, which takes seconds after an experiment has stopped it."""
    fields = [each.get("/api/v1/sample/notes").headers.get("RateLimit", "") for each in instances * 2]
    remaining = [int(match[1]) for field in fields if (match := re.search(r'"anon";r=(\d+)', field))]
    return bool(remaining) and remaining == list(range(remaining[0], remaining[0] - len(fields), -1))


def _guessed(sandbox: Sandbox) -> tuple[Counter[int], int, float]:
    """Return the statuses of the guesses, the owner's status after them, and how many seconds the guesses took."""
    owner = sandbox.client()
    account = sandbox.account(owner)
    started = time.monotonic()
    guesses = Counter(
        sandbox.client().post("/api/v1/auth/login", {"email": account.email, "password": f"guess {number}"}).status
        for number in range(GUESSES)
    )
    seconds = time.monotonic() - started
    return guesses, owner.get("/api/v1/me", token=account.access).status, seconds
