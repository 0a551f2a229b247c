"""throttling: the limiter, the middleware, the DRF throttles and the limit on forms, on a real Valkey."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.practices.caching import CachedResponse
from apps.practices.mechanisms.redis import redis_client
from apps.practices.throttling.forms import limited_form
from apps.practices.throttling.limiter import LOCAL_CLIENTS, Decision, Limit, LocalLimiter, acquire
from apps.practices.throttling.middleware import ThrottlingMiddleware
from apps.practices.throttling.throttles import LoginThrottle, ScopeThrottle, UserThrottle
from tests.practices.cache_servers import black_hole, private_redis
from tests.problems import assert_problem

WIDE = (1_000_000, 900)
APP = "https://app.example.com"


class Named:
    """A user without a database."""

    is_authenticated = True

    def __init__(self, name: str) -> None:
        self.pk = name


class ByName(BaseAuthentication):
    """``Authorization: Name x`` authenticates as x; any other scheme is refused; without the header nobody is signed in."""

    def authenticate(self, request: Request) -> tuple[Named, None] | None:
        scheme, _, name = request.headers.get("Authorization", "").partition(" ")
        if scheme and scheme != "Name":
            raise AuthenticationFailed
        return (Named(name), None) if scheme else None

    def authenticate_header(self, request: Request) -> str:
        return "Name"


class Open(APIView):
    authentication_classes: Any = (ByName,)
    permission_classes = (AllowAny,)
    throttle_classes: Any = (UserThrottle,)
    runs = 0

    def get(self, request: Request) -> Response:
        Open.runs += 1
        return Response({})

    post = get


class Cached(Open):
    cached = CachedResponse(ttl=30, tags=("open",))


class Login(Open):
    authentication_classes = ()
    throttle_classes = (LoginThrottle,)


class Scoped(Open):
    throttle_classes = (ScopeThrottle,)
    throttle_scope = "imports"


@limited_form("test-form")
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("form")


urlpatterns = [
    path("api/v1/open", Open.as_view()),
    path("api/v1/cached", Cached.as_view()),
    path("api/v1/login", Login.as_view()),
    path("api/v1/scoped", Scoped.as_view()),
    path("form", form),
]


@pytest.fixture(autouse=True)
def routes(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.TRUSTED_PROXIES = 0
    set_limits(settings)
    Open.runs = 0


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def set_limits(settings: Any, **policies: tuple[int, int]) -> None:
    """Set the given limits, and wide ones for the other policies."""
    settings.THROTTLING_POLICIES = {**dict.fromkeys(("address", "anon", "user", "login"), WIDE), **policies}


def statuses(client: Client, address: str, count: int, **extra: str) -> list[int]:
    return [client.get(address, **extra).status_code for _ in range(count)]


class TestLimiter:
    def test_burst_then_steady_rate(self) -> None:
        one = [Limit("p", "a", (5, 15))]
        assert [acquire(one)[0] for _ in range(7)] == [True] * 5 + [False] * 2
        time.sleep(3.1)
        assert acquire(one)[0]

    def test_refused_request_counts_against_no_limit(self) -> None:
        tight, wide = Limit("tight", "a", (1, 900)), Limit("wide", "a", (10, 900))
        assert acquire([wide, tight])[0]
        for _ in range(5):
            assert not acquire([wide, tight])[0]
        allowed, decisions = acquire([wide])
        assert allowed
        assert decisions[0].remaining == 8, "refused requests are not counted"

    def test_acquire_takes_one_round_trip(self) -> None:
        limits = [Limit(name, "a", (10, 900)) for name in ("a", "b", "c")]
        acquire(limits)

        def commands() -> int:
            return int(redis_client().info("stats")["total_commands_processed"])

        def cost() -> int:
            before = commands()
            acquire(limits)
            return commands() - before

        inside = 1 + 3 * 2  # TIME, and for each policy GET and SET, which the server counts as commands
        assert (
            min(cost() for _ in range(5)) <= inside + 2
        )  # this process's metrics may be sent in between, but not each time

    def test_reloads_a_flushed_script(self) -> None:
        acquire([Limit("p", "a", (10, 900))])
        redis_client().script_flush()
        assert acquire([Limit("p", "a", (10, 900))])[1][0].remaining == 8

    def test_keys_expire(self) -> None:
        acquire([Limit("p", "a", (10, 100))])
        (key,) = redis_client().scan_iter("*:l:p:*:a")
        assert 0 < redis_client().pttl(key) <= 10_000

    def test_local_limiter_agrees_with_the_script(self) -> None:
        """The same requests get the same decisions with and without Redis."""
        limits, table = [Limit("p", "a", (5, 900)), Limit("q", "a", (3, 900))], LocalLimiter(100)
        for _ in range(6):
            allowed, decisions = acquire(limits)
            own_allowed, backlogs = table.acquire(limits, now=time.monotonic() * 1e6)
            own = [Decision(charge, backlog) for charge, backlog in zip(limits, backlogs, strict=True)]
            assert (allowed, [v.remaining for v in decisions]) == (own_allowed, [v.remaining for v in own])
            assert all(abs(one.retry_after - other.retry_after) <= 9 for one, other in zip(decisions, own, strict=True))

    def test_local_limiter_is_bounded(self) -> None:
        table = LocalLimiter(100)
        for number in range(1000):
            table.acquire([Limit("p", str(number), (5, 10))], now=0)
        assert len(table) == 100
        assert LOCAL_CLIENTS <= 100_000


class TestChangedLimit:
    """A changed limit applies from the next request on, even to clients that the old one refused."""

    def test_raised_limit_admits_a_refused_client(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(4, 900))
        assert statuses(client, "/api/v1/open", 5)[-1] == 429
        set_limits(settings, anon=(100, 60))
        answer = client.get("/api/v1/open")
        assert (answer.status_code, '"anon";r=99' in answer["RateLimit"]) == (200, True)

    def test_lowered_limit_applies_at_once(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(100, 900))
        assert statuses(client, "/api/v1/open", 50) == [200] * 50
        set_limits(settings, anon=(3, 900))
        assert statuses(client, "/api/v1/open", 4) == [200] * 3 + [429]
        assert int(client.get("/api/v1/open")["Retry-After"]) <= 300

    def test_changed_limit_applies_without_redis(self, client: Client, settings: Any) -> None:
        with black_hole(settings):
            set_limits(settings, anon=(2, 900))
            assert statuses(client, "/api/v1/open", 3) == [200, 200, 429]
            set_limits(settings, anon=(3, 900))
            assert statuses(client, "/api/v1/open", 4) == [200] * 3 + [429]

    def test_changed_limit_applies_to_forms(self, client: Client, settings: Any) -> None:
        set_limits(settings, login=(2, 90_000))
        assert [client.post("/form").status_code for _ in range(3)] == [200, 200, 429]
        set_limits(settings, login=(3, 90_000))
        assert [client.post("/form").status_code for _ in range(4)] == [200] * 3 + [429]


class TestConcurrency:
    def test_limit_is_exact_under_concurrency(self, settings: Any) -> None:
        set_limits(settings, anon=(10, 900))
        with ThreadPoolExecutor(40) as threads:
            found = list(threads.map(lambda _: Client().get("/api/v1/open").status_code, range(120)))
        assert (found.count(200), found.count(429)) == (10, 110)

    def test_forged_addresses_are_ignored(self, settings: Any) -> None:
        """Anything the client writes is to the left of what the proxy appends."""
        set_limits(settings, anon=(10, 900))
        settings.TRUSTED_PROXIES = 1

        def call(number: int) -> int:
            forged = {"x-forwarded-for": f"10.0.{number}.1, 192.0.2.9", "forwarded": f"for=10.0.{number}.1"}
            return Client().get("/api/v1/open", headers=forged).status_code

        with ThreadPoolExecutor(40) as threads:
            found = list(threads.map(call, range(120)))
        assert found.count(200) == 10

    def test_processes_share_one_count(self) -> None:
        program = (
            "import django; django.setup()\n"
            "from apps.practices.throttling.limiter import Limit, acquire\n"
            "print(sum(acquire([Limit('shared', 'a', (30, 90_000))])[0] for _ in range(25)))\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 30


class TestMiddleware:
    def test_429_has_retry_after(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(3, 300))
        assert statuses(client, "/api/v1/open", 4) == [200] * 3 + [429]
        answer = client.get("/api/v1/open")
        assert_problem(answer, 429, "too-many-requests")
        assert 90 <= int(answer["Retry-After"]) <= 100

    def test_waiting_for_retry_after_is_enough(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(2, 6))
        statuses(client, "/api/v1/open", 2)
        answer = client.get("/api/v1/open")
        assert answer.status_code == 429
        time.sleep(int(answer["Retry-After"]))
        assert client.get("/api/v1/open").status_code == 200

    def test_every_api_response_has_limit_headers(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(100, 9000), address=(6000, 540_000))
        for address, status in (("/api/v1/open", 200), ("/api/v1/absent", 404), ("/api/v1/open", 200)):
            answer = client.get(address)
            assert answer.status_code == status
            assert answer["RateLimit-Policy"] == '"address";q=6000;w=540000, "anon";q=100;w=9000'
            match = re.fullmatch(r'"address";r=(\d+);t=(\d+), "anon";r=(\d+);t=(\d+)', answer["RateLimit"])
            assert match
        remaining, reset, *anon = (int(number) for number in match.groups())
        assert (remaining, anon[0]) == (5997, 97)
        assert all(3 * 90 - 20 <= seconds <= 3 * 90 for seconds in (reset, anon[1]))
        assert not client.get("/form").has_header("RateLimit")

    def test_address_limit_counts_every_path(self, client: Client, settings: Any) -> None:
        set_limits(settings, address=(3, 900))
        found = [client.get(a).status_code for a in ("/form", "/api/v1/open", "/absent", "/form", "/api/v1/open")]
        assert found == [200, 200, 404, 429, 429]

    def test_cache_hits_are_counted(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(3, 900))
        assert statuses(client, "/api/v1/cached", 5) == [200] * 3 + [429] * 2
        assert Open.runs == 1

    def test_ipv6_is_counted_by_network(self, settings: Any) -> None:
        set_limits(settings, anon=(3, 900))
        addresses = [f"2001:db8:0:1::{number:x}" for number in range(5)]
        found = [Client(REMOTE_ADDR=address).get("/api/v1/open").status_code for address in addresses]
        assert found == [200] * 3 + [429] * 2
        assert Client(REMOTE_ADDR="2001:db8:0:2::1").get("/api/v1/open").status_code == 200


class TestAnonymous:
    """Invalid credentials do not avoid the anonymous limit."""

    def test_refused_tokens_are_counted(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(3, 900))
        assert statuses(client, "/api/v1/open", 5, HTTP_AUTHORIZATION="Bearer garbage") == [401] * 3 + [429] * 2
        assert client.get("/api/v1/open").status_code == 429, "they share the count of requests without a token"

    def test_unread_tokens_are_counted_before_the_view(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(3, 900))
        found = statuses(client, "/api/v1/login", 5, HTTP_AUTHORIZATION="Bearer garbage")
        assert (found, Open.runs) == ([200] * 3 + [429] * 2, 3)

    def test_invalid_cookie_is_counted(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(3, 900))
        assert statuses(client, "/api/v1/open", 5, HTTP_COOKIE="__Host-access=x") == [200] * 3 + [429] * 2

    @pytest.mark.parametrize("path", ["/api/v1/nowhere", "/api/schema"])
    def test_unverified_credentials_are_counted_on_any_path(self, client: Client, settings: Any, path: str) -> None:
        set_limits(settings, anon=(3, 900))
        assert statuses(client, path, 5, HTTP_AUTHORIZATION="x")[3:] == [429] * 2
        assert client.get("/api/v1/open").status_code == 429, "they share the count of requests without a token"

    def test_server_errors_are_not_counted_as_anonymous(self, settings: Any) -> None:
        set_limits(settings, anon=(1, 900))
        broken = ThrottlingMiddleware(lambda _: HttpResponse(status=503))
        for _ in range(3):
            request = RequestFactory().get("/api/v1/open", headers={"authorization": "Name alice"})
            assert broken(request).status_code == 503

    def test_verified_user_is_not_counted(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(1, 900))
        assert statuses(client, "/api/v1/open", 5, HTTP_AUTHORIZATION="Name alice") == [200] * 5

    def test_request_is_counted_once(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(10, 900))
        answer = client.get("/api/v1/login", HTTP_AUTHORIZATION="Bearer garbage")
        assert '"anon";r=9' in answer["RateLimit"]
        assert '"anon";r=8' in client.get("/api/v1/login")["RateLimit"]


class TestEveryRequestCounts:
    """A request that is refused before it reaches a view is counted, too."""

    @pytest.mark.parametrize(
        ("kind", "refused"),
        [
            ({"path": "/api/v1/open?%00"}, 400),
            ({"path": "/api/v1/open", "CONTENT_LENGTH": "9" * 12}, 413),
            ({"path": "/api/v1/open", "data": b"x", "content_type": "application/*"}, 415),
            ({"path": "/api/v1/open", "HTTP_HOST": "elsewhere.example"}, 400),
            ({"path": "/nowhere"}, 404),
            ({"path": "/nowhere", "HTTP_HOST": "elsewhere.example"}, 400),
        ],
    )
    def test_refusals_are_counted(self, client: Client, settings: Any, kind: dict[str, Any], refused: int) -> None:
        set_limits(settings, address=(3, 900))
        found = [client.generic("POST", **kind).status_code for _ in range(5)]
        assert found == [refused] * 3 + [429] * 2
        assert client.get("/api/v1/open").status_code == 429

    def test_preflights_are_counted_by_address_only(self, client: Client, settings: Any) -> None:
        """Browsers send them without credentials."""
        set_limits(settings, address=(5, 900), anon=(1, 900))
        settings.CORS_ALLOWED_ORIGINS = [APP]
        asked = {"HTTP_ORIGIN": APP, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
        found = [client.options("/api/v1/open", **asked).status_code for _ in range(7)]
        assert found == [200] * 5 + [429] * 2

    def test_refusal_has_cors_headers(self, client: Client, settings: Any) -> None:
        set_limits(settings, address=(1, 900))
        settings.CORS_ALLOWED_ORIGINS = [APP]
        answers = [client.get("/api/v1/open", HTTP_ORIGIN=APP) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == APP
        assert "retry-after" in answers[1].headers["access-control-expose-headers"].lower()


class TestThrottles:
    def test_users_are_counted_separately_from_any_address(self, settings: Any) -> None:
        set_limits(settings, user=(3, 900))
        alice = {"HTTP_AUTHORIZATION": "Name alice"}
        found = [Client(REMOTE_ADDR=f"192.0.2.{n}").get("/api/v1/open", **alice).status_code for n in range(5)]
        assert found == [200] * 3 + [429] * 2
        answer = Client().get("/api/v1/open", HTTP_AUTHORIZATION="Name bob")
        assert '"user";r=2' in answer["RateLimit"]

    def test_retry_after_covers_all_exhausted_limits(self, client: Client, settings: Any) -> None:
        set_limits(settings, address=(2, 9000), user=(1, 10))
        alice = {"HTTP_AUTHORIZATION": "Name alice"}
        assert statuses(client, "/api/v1/open", 1, **alice) == [200]
        answer = client.get("/api/v1/open", **alice)
        assert answer.status_code == 429, "refused by the user limit, and the last one of the address limit"
        assert 4400 < int(answer["Retry-After"]) <= 4500

    def test_login_is_counted_by_address(self, client: Client, settings: Any) -> None:
        set_limits(settings, login=(3, 900))
        assert [client.post("/api/v1/login").status_code for _ in range(5)] == [200] * 3 + [429] * 2
        answer = client.post("/api/v1/login")
        assert_problem(answer, 429, "too-many-requests")
        assert 290 <= int(answer["Retry-After"]) <= 300
        assert Open.runs == 3

    def test_scope_is_counted_separately(self, client: Client, settings: Any) -> None:
        set_limits(settings, imports=(2, 900))
        alice = {"HTTP_AUTHORIZATION": "Name alice"}
        assert statuses(client, "/api/v1/scoped", 3, **alice) == [200, 200, 429]
        assert statuses(client, "/api/v1/open", 3, **alice) == [200] * 3


class TestForm:
    def test_posts_are_limited_by_client_address(self, client: Client, settings: Any) -> None:
        set_limits(
            settings, login=(3, 90_000)
        )  # its windows follow the wall clock; a wide one rarely ends during a test
        settings.TRUSTED_PROXIES = 1
        chains = [f"10.0.0.{number}, 192.0.2.1" for number in range(5)]
        found = [client.post("/form", headers={"x-forwarded-for": chain}).status_code for chain in chains]
        assert found == [200] * 3 + [429] * 2
        answer = client.post("/form", headers={"x-forwarded-for": "192.0.2.1"})
        assert_problem(answer, 429, "too-many-requests")
        assert 1 <= int(answer["Retry-After"]) <= 90_000
        assert client.get("/form", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 200
        assert client.post("/form", headers={"x-forwarded-for": "192.0.2.2"}).status_code == 200

    def test_form_limit_fails_open(self, client: Client, settings: Any) -> None:
        set_limits(settings, login=(1, 900))
        with black_hole(settings):
            assert [client.post("/form").status_code for _ in range(3)] == [200] * 3

    @pytest.mark.django_db
    def test_admin_login_is_limited(self, client: Client, settings: Any) -> None:
        settings.ROOT_URLCONF = "project.urls"
        set_limits(settings, login=(2, 90_000))
        form = {"username": "a@example.com", "password": "wrong"}
        found = [client.post("/admin/login/", form).status_code for _ in range(3)]
        assert found[-1] == 429
        assert 429 not in found[:2]


class TestRedisUnavailable:
    def test_process_counts_for_itself_without_redis(self, client: Client, settings: Any) -> None:
        set_limits(settings, anon=(10, 900))
        with private_redis(settings) as server:
            server.kill()
            assert statuses(client, "/api/v1/open", 12) == [200] * 10 + [429] * 2
            server.start()
            redis_client().breaker.reset()
            assert client.get("/api/v1/open").status_code == 200, "and the shared count applies again"

    def test_paused_redis_stops_no_response(self, client: Client, settings: Any) -> None:
        with private_redis(settings) as server:
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                assert set(statuses(client, "/api/v1/open", 50)) == {200}
                assert time.monotonic() - began < 8
            finally:
                os.kill(server.pid, signal.SIGCONT)


class TestChecks:
    @pytest.mark.parametrize("rate", [None, (0, 900), (100, 0), "100/15m", (1, 2, 3), (1.5, 900)])
    def test_invalid_rate_is_reported(self, settings: Any, rate: Any) -> None:
        set_limits(settings, login=rate)
        with pytest.raises(SystemCheckError, match=r"throttling\.E001"):
            call_command("check", tags=["security"])

    def test_missing_policy_is_reported(self, settings: Any) -> None:
        settings.THROTTLING_POLICIES = {"anon": WIDE}
        with pytest.raises(SystemCheckError, match=r"throttling\.E001"):
            call_command("check", tags=["security"])

    def test_scope_without_a_policy_is_reported(self, settings: Any) -> None:
        with pytest.raises(SystemCheckError, match=r"throttling\.E003"):
            call_command("check", tags=["security"])
        set_limits(settings, imports=(2, 900))
        call_command("check", tags=["security"])

    @pytest.mark.parametrize(("name", "value"), [("RATELIMIT_FAIL_OPEN", False), ("RATELIMIT_USE_CACHE", "other")])
    def test_form_limits_that_fail_closed_are_reported(self, settings: Any, name: str, value: Any) -> None:
        settings.CACHES = {**settings.CACHES, "other": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        setattr(settings, name, value)
        with pytest.raises(SystemCheckError, match=r"throttling\.E002"):
            call_command("check", tags=["security"])


def test_retry_after_is_exact() -> None:
    """Whole seconds, rounded up, so that a client that waits is not refused again."""
    decision = Decision(Limit("p", "a", (100, 900)), backlog=900e6)
    assert (decision.remaining, decision.retry_after, decision.reset) == (0, math.ceil(900 / 100), 900)
