"""DRF throttle classes that use the limiter: by user, by address on credential endpoints, and by the view's scope."""

from typing import TYPE_CHECKING, ClassVar

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.requests import django_request
from apps.practices.throttling.limiter import Limit, limit_for
from apps.practices.throttling.requests import acquire_for, is_verified, too_many

if TYPE_CHECKING:  # DRF imports this module while rest_framework.views loads
    from rest_framework.views import APIView


class PolicyThrottle(BaseThrottle):
    """Applies one policy, and "anon" to requests without a verified user. Raises TooManyRequests (429)."""

    policy: ClassVar[str] = ""

    def policy_limit(self, request: Request, view: "APIView") -> Limit | None:
        """Return the limit to apply to a request; None applies none."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        plain = django_request(request)
        if not acquire_for(plain, self.policy_limit(request, view), is_anonymous=not is_verified(plain)):
            raise too_many(plain)
        return True


class UserThrottle(PolicyThrottle):
    """The "user" policy: by account, from any address."""

    policy = "user"

    def policy_limit(self, request: Request, view: "APIView") -> Limit | None:
        return limit_for(self.policy, str(request.user.pk)) if is_verified(django_request(request)) else None


class LoginThrottle(PolicyThrottle):
    """The "login" policy: by address, shared by all endpoints that take a password or send mail."""

    policy = "login"

    def policy_limit(self, request: Request, view: "APIView") -> Limit | None:
        return limit_for(self.policy, facts_of(django_request(request)).bucket)


class ScopeThrottle(PolicyThrottle):
    """The policy in the view's ``throttle_scope``: by account, or by address without a verified user.

    A scope missing from THROTTLING_POLICIES is not limited; the check ``throttling.E003`` reports such views.
    """

    def policy_limit(self, request: Request, view: "APIView") -> Limit | None:
        plain = django_request(request)
        identity = str(request.user.pk) if is_verified(plain) else facts_of(plain).bucket
        return limit_for(getattr(view, "throttle_scope", ""), identity)
