"""DRF throttle classes that use the limiter: by user, by address on credential endpoints, and by the view's scope.

ThrottlingMiddleware counts the policies of a view's ``throttle_classes`` together with its own, in one round trip, if it knows
the caller by then. The throttles count what is left: for a caller whom authentication found, and in ``get_throttles()``.
"""

from typing import TYPE_CHECKING, Any, ClassVar

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

    @classmethod
    def limit(cls, view: "APIView | type[APIView]", *, user: str | None, bucket: str) -> Limit | None:
        """Return the limit to apply to a request of this user (None: not signed in) and address; None applies none."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        plain = django_request(request)
        facts = facts_of(plain)
        is_anonymous = not is_verified(plain)
        user = None if is_anonymous else str(request.user.pk)
        limits = []
        if type(self) not in facts.throttles or user != facts.throttled_user:
            limits = [limit] if (limit := self.limit(view, user=user, bucket=facts.bucket)) else []
        elif facts.is_anon_counted or not is_anonymous:
            return True
        if not acquire_for(plain, limits, is_anonymous=is_anonymous):
            raise too_many(plain)
        return True


class UserThrottle(PolicyThrottle):
    """The "user" policy: by account, from any address."""

    policy = "user"

    @classmethod
    def limit(cls, view: Any, *, user: str | None, bucket: str) -> Limit | None:
        return None if user is None else limit_for(cls.policy, user)


class LoginThrottle(PolicyThrottle):
    """The "login" policy: by address, shared by all endpoints that take a password or send mail."""

    policy = "login"

    @classmethod
    def limit(cls, view: Any, *, user: str | None, bucket: str) -> Limit | None:
        return limit_for(cls.policy, bucket)


class ScopeThrottle(PolicyThrottle):
    """The policy in the view's ``throttle_scope``: by account, or by address without a verified user.

    A scope missing from THROTTLING_POLICIES is not limited; the check ``throttling.E003`` reports such views.
    """

    @classmethod
    def limit(cls, view: Any, *, user: str | None, bucket: str) -> Limit | None:
        return limit_for(getattr(view, "throttle_scope", ""), bucket if user is None else user)
