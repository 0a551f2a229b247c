"""RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10): structured lists, one member a policy."""

from collections.abc import Sequence

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import TooManyRequests, problem_response
from apps.practices.mechanisms.metrics import count
from apps.practices.throttling.limiter import Verdict


def note(request: HttpRequest, verdicts: Sequence[Verdict]) -> None:
    """Keep verdicts for the answer's headers; a later one of the same policy replaces the earlier."""
    known = {verdict.charge.policy: verdict for verdict in noted(request)}
    known.update({verdict.charge.policy: verdict for verdict in verdicts})
    request.throttling = list(known.values())  # type: ignore[attr-defined]  # ours: read by noted()


def noted(request: HttpRequest) -> list[Verdict]:
    """The verdicts on a request so far."""
    verdicts: list[Verdict] = getattr(request, "throttling", [])
    return verdicts


def too_many(verdicts: Sequence[Verdict]) -> TooManyRequests:
    """The problem that a refused request gets: Retry-After is the longest wait of the policies that refuse."""
    worst = max(verdicts, key=lambda verdict: verdict.retry_after)
    quota, seconds = worst.charge.rate
    count("throttled", policy=worst.charge.policy)
    return TooManyRequests(
        f'The limit "{worst.charge.policy}" of {quota} requests per {seconds} seconds is used up.',
        retry_after=max(1, worst.retry_after),
    )


def refusal(request: HttpRequest, verdicts: Sequence[Verdict]) -> HttpResponseBase:
    """429 as an answer, for middleware and forms."""
    return problem_response(request, too_many(verdicts))


def limits_to_headers(response: HttpResponseBase, verdicts: Sequence[Verdict]) -> None:
    """Write both fields; nothing when no policy applied."""
    if not verdicts:
        return
    charges = [verdict.charge for verdict in verdicts]
    response.headers["RateLimit-Policy"] = ", ".join(
        f'"{one.policy}";q={one.rate[0]};w={one.rate[1]}' for one in charges
    )
    response.headers["RateLimit"] = ", ".join(f'"{v.charge.policy}";r={v.remaining};t={v.reset}' for v in verdicts)
