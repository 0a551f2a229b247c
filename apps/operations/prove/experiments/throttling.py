"""throttling (131): a limit counts exactly under concurrency, whatever address a client claims to have."""

import time
from concurrent.futures import ThreadPoolExecutor

from apps.operations.prove.ground import Evidence, Ground

LIMIT, WINDOW = 100, 900  # THROTTLE_ANON's default
REQUESTS = 140


def prove(ground: Ground) -> Evidence:
    """This function will send more anonymous requests than one address may, each claiming another address."""
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
    return Evidence(
        did=f"sent {REQUESTS} anonymous requests at once, each with a forged X-Forwarded-For, against {LIMIT} per 15 minutes",
        saw=f"{passed} passed, {refused} refused with 429, Retry-After and RateLimit",
        holds=LIMIT <= passed <= at_most and passed + refused == REQUESTS and all(well for _, well in answers),
    )
