"""The limits of one request: counting it, refusing it, and the RateLimit fields of its response.

RateLimit-Policy and RateLimit follow draft-ietf-httpapi-ratelimit-headers-10: structured lists with a member per policy.
"""

from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from apps.practices.errors import TooManyRequests
from apps.practices.mechanisms.facts import RequestFacts, facts_of
from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.metrics_refusals import refusal_keep
from apps.practices.mechanisms.proxies import address_shown
from apps.practices.mechanisms.responses import header_set
from apps.practices.throttling.limiter import Decision, Limit, acquire, limit_for


def has_credentials(request: HttpRequest) -> bool:
    """Return whether the request has something that authentication may verify: Authorization, or an access cookie."""
    if "HTTP_AUTHORIZATION" in request.META:
        return True
    return bool(request.META.get("HTTP_COOKIE")) and settings.TOKENS_ACCESS_COOKIE in request.COOKIES


def is_verified(request: HttpRequest) -> bool:
    """Return whether authentication has found a user."""
    user = getattr(request, "user", None)
    return user is not None and user.is_authenticated


def user_known(request: HttpRequest) -> str | None:
    """Return the id of the user who will be found by authentication, if that is known without a query."""
    user_id = _imported(settings.THROTTLING_USER_KNOWN)(request)
    return None if user_id is None else str(user_id)


_imported = cache(import_string)


def acquire_for(request: HttpRequest, limits: list[Limit], *, is_anonymous: bool) -> bool:
    """Count a request against ``limits``, and an anonymous one against "anon" as well, but only once.

    Return whether it is allowed. The decisions are kept in the facts of the request; one replaces an earlier one of its policy.
    """
    facts = facts_of(request)
    if is_anonymous and not facts.is_anon_counted:
        facts.is_anon_counted = True
        if anon := limit_for("anon", facts.bucket):
            limits.append(anon)
    allowed, decisions = acquire(limits)
    for decision in decisions:
        facts.decisions[decision.limit.policy] = decision
    return allowed


def too_many(request: HttpRequest) -> TooManyRequests:
    """Return the problem for a refused request. Its Retry-After is the longest wait of all exhausted limits."""
    decisions: list[Decision] = list(facts_of(request).decisions.values())
    worst = max(decisions, key=lambda decision: decision.retry_after)
    policy, (quota, seconds) = worst.limit.policy, worst.limit.rate
    refusal_count(facts_of(request), policy, worst.limit.identity)
    return TooManyRequests(
        f'The limit "{policy}" of {quota} requests per {seconds} seconds is exhausted.',
        retry_after=max(1, worst.retry_after),
    )


def refusal_count(facts: RequestFacts, policy: str, identity: str) -> None:
    """Count a request that a policy refused, and whom: an account, or an address in the form that LOG_ADDRESSES allows."""
    count("throttled", policy=policy)
    form = settings.OBSERVABILITY_ADDRESSES
    is_shortened = identity == facts.bucket and form != "full"
    name = address_shown(facts.address, form) if is_shortened else identity
    if name:
        refusal_keep(policy, name)


def limits_to_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add both fields to the response, if any limit applied to the request."""
    facts = facts_of(request)
    if facts.decisions:
        rates = [(policy, *decision.limit.rate) for policy, decision in facts.decisions.items()]
        policies = ", ".join([f'"{name}";q={quota};w={window}' for name, quota, window in rates])
        header_set(response, "RateLimit-Policy", policies)
        header_set(response, "RateLimit", limits_left(facts))


def limits_left(facts: RequestFacts) -> str:
    """Return the RateLimit field: what is left of each limit that applied to a request."""
    decisions: dict[str, Decision] = facts.decisions
    return ", ".join([f'"{policy}";r={one.remaining};t={one.reset}' for policy, one in decisions.items()])
