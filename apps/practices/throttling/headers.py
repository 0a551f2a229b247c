"""RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10): structured lists, one member a policy."""

from collections.abc import Sequence

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import TooManyRequests, problem_response
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.metrics import count
from apps.practices.throttling.limiter import Decision


def record(request: HttpRequest, decisions: Sequence[Decision]) -> None:
    """Keep decisions for the answer's headers; a later one of the same policy replaces the earlier."""
    facts_of(request).decisions.update({decision.limit.policy: decision for decision in decisions})


def recorded(request: HttpRequest) -> list[Decision]:
    """The decisions on a request so far."""
    return list(facts_of(request).decisions.values())


def too_many(decisions: Sequence[Decision]) -> TooManyRequests:
    """The problem that a refused request gets: Retry-After is the longest wait of the policies that refuse."""
    worst = max(decisions, key=lambda decision: decision.retry_after)
    quota, seconds = worst.limit.rate
    count("throttled", policy=worst.limit.policy)
    return TooManyRequests(
        f'The limit "{worst.limit.policy}" of {quota} requests per {seconds} seconds is used up.',
        retry_after=max(1, worst.retry_after),
    )


def refusal(request: HttpRequest, decisions: Sequence[Decision]) -> HttpResponseBase:
    """429 as an answer, for middleware and forms."""
    return problem_response(request, too_many(decisions))


def limits_to_headers(response: HttpResponseBase, decisions: Sequence[Decision]) -> None:
    """Write both fields; nothing when no policy applied."""
    if not decisions:
        return
    limits = [decision.limit for decision in decisions]
    response.headers["RateLimit-Policy"] = ", ".join(
        f'"{one.policy}";q={one.rate[0]};w={one.rate[1]}' for one in limits
    )
    response.headers["RateLimit"] = ", ".join(f'"{v.limit.policy}";r={v.remaining};t={v.reset}' for v in decisions)
