"""throttling: all limits of a signed-in request in one round trip, and whom it counts against."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import path
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import EndReason, Session, Transport, User
from apps.accounts.selectors import sessions
from apps.practices.mechanisms.redis import redis_client
from apps.practices.throttling.throttles import LoginThrottle, ScopeThrottle, UserThrottle
from apps.practices.validation.views import StrictView
from tests.apps.accounts.factories import sign_in, user_create
from tests.practices.test_throttling import set_limits

pytestmark = pytest.mark.django_db


class Mine(StrictView):
    throttle_classes = (UserThrottle, ScopeThrottle)
    throttle_scope = "imports"

    def get(self, request: Request) -> Response:
        return Response({})

    post = get


class Guarded(Mine):
    def get_throttles(self) -> Any:
        return [*super().get_throttles(), LoginThrottle()]


class Open(Mine):
    authentication_classes = ()
    permission_classes = ()


class OfAnother(BaseAuthentication):
    """A project's own authentication: the header X-User names the user, whatever token the request has."""

    def authenticate(self, request: Request) -> tuple[User, None]:
        return User.objects.get(pk=request.headers["X-User"]), None


class Foreign(Mine):
    authentication_classes = (OfAnother,)


urlpatterns = [
    path("api/v1/foreign", Foreign.as_view()),
    path("api/v1/mine", Mine.as_view()),
    path("api/v1/guarded", Guarded.as_view()),
    path("api/v1/open", Open.as_view()),
]


@pytest.fixture(autouse=True)
def routes(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    set_limits(settings, address=(1000, 900_000), user=(10, 900), login=(5, 900), imports=(20, 900))


def bearer(pair: Any) -> Client:
    return Client(headers={"authorization": f"Bearer {pair.access}"})


def in_cookie(pair: Any, settings: Any) -> Client:
    client = Client()
    client.cookies[settings.TOKENS_ACCESS_COOKIE] = pair.access
    return client


def trips() -> int:
    """Return how often the limiter's script has run."""
    return int(redis_client().info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


@pytest.mark.parametrize("transport", [Transport.BEARER, Transport.COOKIE])
def test_known_session_takes_one_trip(settings: Any, transport: Transport) -> None:
    pair = sign_in(user_create(), transport=transport)
    client = bearer(pair) if transport == Transport.BEARER else in_cookie(pair, settings)
    assert client.get("/api/v1/mine").status_code == 200
    before = trips()
    answer = client.get("/api/v1/mine")
    assert (answer.status_code, trips() - before) == (200, 1)
    assert [part.split(";")[:2] for part in answer["RateLimit"].split(", ")] == [
        ['"address"', "r=998"],
        ['"user"', "r=8"],
        ['"imports"', "r=18"],
    ]


def test_throttle_of_one_method_is_counted_beside(pair: Any, settings: Any) -> None:
    client = bearer(pair)
    found = [client.get("/api/v1/guarded")["RateLimit"] for _ in range(3)]
    assert '"login";r=2' in found[-1]
    assert '"user";r=7' in found[-1]


def test_known_user_is_refused_before_the_view(pair: Any, settings: Any, django_assert_num_queries: Any) -> None:
    settings.TOKENS_CHECK_SECONDS = 0
    client = bearer(pair)
    assert [client.get("/api/v1/mine").status_code for _ in range(10)] == [200] * 10
    with django_assert_num_queries(0):
        answer = client.get("/api/v1/mine")
    assert answer.status_code == 429
    assert 80 <= int(answer["Retry-After"]) <= 90


@pytest.mark.django_db(transaction=True)
def test_limit_is_exact_under_concurrency(pair: Any) -> None:
    def status(number: int) -> int:
        try:
            return bearer(pair).get("/api/v1/mine").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(status, range(30)))
    assert (found.count(200), found.count(429)) == (10, 20)


@pytest.mark.django_db(transaction=True)
def test_ended_session_counts_as_anonymous(pair: Any, settings: Any) -> None:
    settings.TOKENS_CHECK_SECONDS = 0  # as in other processes, a second later
    client = bearer(pair)
    client.get("/api/v1/mine")
    Session.objects.filter(pk=pair.session_id).update(ended_at=timezone.now(), ended_reason=EndReason.OWNER)
    found = [client.get("/api/v1/mine") for _ in range(3)]
    assert [answer.status_code for answer in found] == [401] * 3
    assert ['"user"' in answer["RateLimit"] for answer in found] == [True, False, False]
    assert ['"anon"' in answer["RateLimit"] for answer in found] == [True] * 3


@pytest.mark.django_db(transaction=True)
def test_an_old_token_counts_for_nobody(pair: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise requests that are refused before authentication would use up the limits of a user whose session has ended."""
    client = bearer(pair)
    client.get("/api/v1/mine")
    monkeypatch.setattr(sessions, "_KNOWN_SECONDS", 0)
    settings.TOKENS_CHECK_SECONDS = 0
    Session.objects.filter(pk=pair.session_id).update(ended_at=timezone.now(), ended_reason=EndReason.OWNER)
    assert '"user"' not in client.get("/api/v1/mine")["RateLimit"]


def test_view_without_authentication_counts_by_address() -> None:
    pairs = [sign_in(user_create()) for _ in range(2)]
    for number, client in enumerate(map(bearer, pairs)):
        client.get("/api/v1/mine")
        limits = client.get("/api/v1/open")["RateLimit"]
        assert f'"imports";r={19 - number}' in limits
        assert '"user"' not in limits


def test_request_counts_for_the_user_whom_authentication_finds(pair: Any) -> None:
    client, other = bearer(pair), user_create()
    client.get("/api/v1/mine")
    found = [client.get("/api/v1/foreign", headers={"X-User": str(other.pk)})["RateLimit"] for _ in range(2)]
    assert ['"user";r=9' in found[0], '"user";r=8' in found[1]] == [True, True]


def test_another_site_cannot_use_up_the_limit_of_a_user(settings: Any) -> None:
    client = in_cookie(sign_in(user_create(), transport=Transport.COOKIE), settings)
    client.get("/api/v1/mine")
    answer = client.post("/api/v1/mine")
    assert answer.status_code == 403, "without a CSRF token"
    assert '"anon"' in answer["RateLimit"]
    assert '"user"' not in answer["RateLimit"]
    assert '"user";r=8' in client.get("/api/v1/mine")["RateLimit"]


def test_token_of_another_transport_has_no_known_user(settings: Any) -> None:
    """A stolen cookie does not work as a bearer token, and counts against nobody's limit."""
    pair = sign_in(user_create(), transport=Transport.COOKIE)
    in_cookie(pair, settings).get("/api/v1/mine")
    answer = bearer(pair).get("/api/v1/mine")
    assert answer.status_code == 401
    assert '"user"' not in answer["RateLimit"]
