"""Who counts as anonymous: whoever has no verified token. Each request is charged to "anon" at most once."""

from django.conf import settings
from django.http import HttpRequest

from apps.practices.mechanisms.facts import facts_of
from apps.practices.throttling.limiter import Limit, limit_for


def carries_credentials(request: HttpRequest) -> bool:
    """Whether the request brings something that authentication may verify: a header, or an access cookie of ours."""
    if "HTTP_AUTHORIZATION" in request.META:
        return True
    cookies = request.META.get("HTTP_COOKIE", "")
    return bool(cookies) and settings.TOKENS_ACCESS_COOKIE in request.COOKIES


def is_verified(request: HttpRequest) -> bool:
    """Whether authentication has found a user."""
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_authenticated)


def anon_mark(request: HttpRequest) -> None:
    """Note that "anon" has been charged for this request."""
    facts_of(request).is_anon_counted = True


def anon_limit(request: HttpRequest) -> Limit | None:
    """The charge to "anon", by address; None when this request has paid it already."""
    facts = facts_of(request)
    return None if facts.is_anon_counted else limit_for("anon", facts.bucket)
