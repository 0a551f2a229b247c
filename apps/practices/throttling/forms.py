"""Limits for HTML forms, by django-ratelimit: exact counts in fixed windows, in the shared cache.

They fail open: while Redis is unavailable only the `address` limit applies, counted in each process.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_ratelimit.core import get_usage

from apps.practices.errors import TooManyRequests, problem_response
from apps.practices.mechanisms.facts import facts_of
from apps.practices.throttling.requests import refusal_count

View = Callable[..., HttpResponseBase]


def limited_form(group: str, *, policy: str = "login") -> Callable[[View], View]:
    """Return a decorator that limits POSTs to a form by client address; it answers 429 with Retry-After."""

    def decorate(view: View) -> View:
        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            usage = get_usage(
                request,
                group=group,
                key="ip",  # the address from RATELIMIT_IP_META_KEY; IPv6 by /64
                rate=settings.THROTTLING_POLICIES[policy],
                method="POST",
                increment=True,
            )
            if usage and usage["should_limit"]:
                facts = facts_of(request)
                refusal_count(facts, policy, facts.bucket)
                return problem_response(request, TooManyRequests(retry_after=max(1, usage["time_left"])))
            return view(request, *args, **kwargs)

        return limited

    return decorate
