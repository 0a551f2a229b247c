"""caching, responses: public hits, conditional requests, and no private response for others."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.practices.caching import CachedResponse, engine, etag, if_match_version, tags_change, with_version
from apps.practices.caching.responses import public_key
from apps.practices.errors import Malformed, PreconditionFailed, Unavailable
from tests.practices.cache_servers import black_hole
from tests.problems import assert_problem


class Named:
    """A user without a database."""

    is_authenticated = True
    is_anonymous = False

    def __init__(self, name: str) -> None:
        self.pk = name


class ByName(BaseAuthentication):
    """``Authorization: Name x`` authenticates as x; the access cookie authenticates as "cookie"."""

    def authenticate(self, request: Request) -> tuple[Named, None] | None:
        scheme, _, name = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Name":
            return Named(name), None
        return (Named("cookie"), None) if "__Host-access" in request.COOKIES else None


class Things(APIView):
    """A list that shows for whom it was rendered."""

    authentication_classes = (ByName,)
    permission_classes = (AllowAny,)
    throttle_classes = ()
    cached = CachedResponse(ttl=30, stale=30, tags=("things",), parameters=("page", "search"))
    runs: ClassVar[list[str]] = []
    answer: ClassVar[Any] = None

    def get(self, request: Request, **kwargs: str) -> Response:
        self.runs.append(request.get_full_path())
        if self.answer is not None:
            return self.answer()
        return Response({"for": getattr(request.user, "pk", None), "run": len(self.runs), **kwargs})

    def post(self, request: Request) -> Response:
        return with_version(Response({"written": True}, status=201), 1)


class Thing(Things):
    """One of the things, with a version."""

    cached = CachedResponse(ttl=30, tags=("thing:{number}",))

    def get(self, request: Request, **kwargs: str) -> Response:
        return with_version(super().get(request, **kwargs), 7)


class Secret(Things):
    """A view without ``cached``."""

    cached = None


urlpatterns = [
    path("api/v1/things", Things.as_view()),
    path("api/v1/things/<number>", Thing.as_view()),
    path("api/v1/secret", Secret.as_view()),
]


@pytest.fixture(autouse=True)
def routes(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    Things.runs.clear()
    Things.answer = None


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.django_db(transaction=True)
class TestPublic:
    def test_hit_runs_no_view(self, client: Client) -> None:
        first, second = client.get("/api/v1/things"), client.get("/api/v1/things")
        assert first.content == second.content
        assert len(Things.runs) == 1
        assert first["Cache-Status"].startswith("app; fwd=uri-miss; stored")
        assert second["Cache-Status"].startswith("app; hit; ttl=")
        assert second["Cache-Control"] == "public, no-cache"
        assert {"Accept", "Authorization", "Cookie"} <= {name.strip() for name in second["Vary"].split(",")}
        assert second["Age"].isdigit()
        assert second["ETag"] == first["ETag"] == etag(first.content)
        assert second["X-Request-ID"] != first["X-Request-ID"]
        assert second["Content-Security-Policy"]

    def test_hit_makes_no_query(self, client: Client, django_assert_num_queries: Any) -> None:
        client.get("/api/v1/things")
        with django_assert_num_queries(0):
            client.get("/api/v1/things")

    def test_equal_queries_share_an_entry(self, client: Client) -> None:
        client.get("/api/v1/things?page=1&search=b")
        client.get("/api/v1/things?search=b&page=1")
        assert len(Things.runs) == 1
        client.get("/api/v1/things?page=2&search=b")
        assert len(Things.runs) == 2

    def test_raw_bytes_in_a_query_are_not_mistaken(self, client: Client) -> None:
        """WSGI decodes bytes beyond ASCII as Latin-1. Read as such, they would be another search."""
        client.get("/api/v1/things", QUERY_STRING="search=\xc3\xa9")  # é, as Django reads it
        client.get("/api/v1/things?search=%C3%83%C2%A9")  # Ã©
        assert len(Things.runs) == 2

    def test_path_with_encoded_query_has_its_own_key(self) -> None:
        addresses = ("/api/v1/things?page=1", "/api/v1/things%3Fpage=1", "/api/v1/things%253Fpage=1")
        assert len({public_key(RequestFactory().get(address), Things.cached) for address in addresses}) == 3

    @pytest.mark.parametrize("query", ["unknown=1", "page=1&page=2", "search=" + "x" * 3000])
    def test_unusual_queries_bypass_the_cache(self, client: Client, query: str) -> None:
        for _ in range(2):
            assert "fwd=bypass" in client.get(f"/api/v1/things?{query}")["Cache-Status"]
        assert len(Things.runs) == 2

    def test_shared_response_contains_no_host(self, client: Client, settings: Any) -> None:
        settings.ALLOWED_HOSTS = ["a.example", "b.example"]
        one = client.get("/api/v1/things", headers={"host": "a.example", "x-forwarded-host": "evil.example"})
        two = client.get("/api/v1/things", headers={"host": "b.example"})
        assert one.content == two.content
        assert b"example" not in two.content
        assert len(Things.runs) == 1

    def test_head_and_get_share_an_entry(self, client: Client) -> None:
        body = client.get("/api/v1/things").content
        head = client.head("/api/v1/things")
        assert (head.content, head["Content-Length"]) == (b"", str(len(body)))
        assert len(Things.runs) == 1

    def test_head_stores_the_body_for_get(self, client: Client) -> None:
        client.head("/api/v1/things")
        assert json.loads(client.get("/api/v1/things").content)["run"] == 1

    def test_change_invalidates_at_once(self, client: Client) -> None:
        client.get("/api/v1/things/1")
        client.get("/api/v1/things/2")
        tags_change("thing:1")
        assert client.get("/api/v1/things/1").json()["run"] == 3
        assert client.get("/api/v1/things/2").json()["run"] == 2

    def test_fifty_concurrent_requests_run_the_view_once(self) -> None:
        def slow() -> Response:
            time.sleep(0.3)
            return Response({"run": 1})

        Things.answer = staticmethod(slow)
        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(lambda _: Client().get("/api/v1/things"), range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(Things.runs) == 1

    def test_unresponsive_redis_stops_no_response(self, client: Client, settings: Any) -> None:
        with black_hole(settings):
            began = time.monotonic()
            answers = [client.get("/api/v1/things") for _ in range(50)]
            assert {answer.status_code for answer in answers} == {200}
            assert time.monotonic() - began < 8
        assert len(Things.runs) < 50, "the local tier still serves"


@pytest.mark.django_db(transaction=True)
class TestAudience:
    """Attempts to get another user's response, or to plant one."""

    @pytest.mark.parametrize(
        "credentials", [{"HTTP_AUTHORIZATION": "Name alice"}, {"HTTP_COOKIE": "a=1; __Host-access=token"}]
    )
    def test_responses_to_credentials_are_not_shared(self, client: Client, credentials: dict[str, str]) -> None:
        own = client.get("/api/v1/things", **credentials)
        assert own.json()["for"]
        assert own["Cache-Control"] == "private, no-cache"
        assert client.get("/api/v1/things").json()["for"] is None
        again = client.get("/api/v1/things", **credentials)
        assert again.json()["for"], "a request with credentials does not get the public response"
        assert len(Things.runs) == 3

    @pytest.mark.parametrize(
        "header", [{"Set-Cookie": "a=1"}, {"Cache-Control": "private"}, {"Cache-Control": "no-store"}]
    )
    def test_private_responses_are_not_cached(self, client: Client, header: dict[str, str]) -> None:
        Things.answer = staticmethod(lambda: Response({"a": 1}, headers=header))
        for _ in range(2):
            client.get("/api/v1/things")
        assert len(Things.runs) == 2

    @pytest.mark.parametrize("status", [203, 206, 302, 404, 410])
    def test_only_a_plain_200_is_cached(self, client: Client, status: int) -> None:
        Things.answer = staticmethod(lambda: Response({"a": 1}, status=status))
        assert client.get("/api/v1/things").status_code == status
        Things.answer = None
        assert client.get("/api/v1/things").status_code == 200

    def test_errors_are_not_cached(self, client: Client) -> None:
        def broken() -> Response:
            raise Unavailable

        Things.answer = staticmethod(broken)
        assert_problem(client.get("/api/v1/things"), 503, "unavailable")
        Things.answer = None
        assert client.get("/api/v1/things").status_code == 200

    def test_stale_response_is_served_in_an_outage(self, client: Client, monkeypatch: Any) -> None:
        monkeypatch.setattr(Things.cached, "ttl", 0.2)
        good = client.get("/api/v1/things")

        def broken() -> Response:
            raise Unavailable

        Things.answer = staticmethod(broken)
        time.sleep(0.3)
        bridged = client.get("/api/v1/things")
        assert (bridged.status_code, bridged.content) == (200, good.content)
        assert "detail=stale" in bridged["Cache-Status"]
        tags_change("things")
        assert client.get("/api/v1/things").status_code == 503, "stale applies only to age, never to a changed tag"

    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/json;q=0, text/html"])
    def test_view_negotiates_unusual_accept(self, client: Client, accept: str) -> None:
        client.get("/api/v1/things")
        client.get("/api/v1/things", headers={"accept": accept})
        assert "hit" not in client.get("/api/v1/things", headers={"accept": accept})["Cache-Status"]

    def test_undeclared_view_is_private(self, client: Client) -> None:
        for _ in range(2):
            answer = client.get("/api/v1/secret")
        assert answer["Cache-Control"] == "private, no-cache"
        assert len(Things.runs) == 2
        assert not answer.has_header("Cache-Status")

    def test_lifetime_above_the_bound_is_refused(self) -> None:
        with pytest.raises(ValueError, match="60 s"):
            CachedResponse(ttl=60, stale=1, tags=())


@pytest.mark.django_db(transaction=True)
class TestConditional:
    @pytest.mark.parametrize("shape", ['"{}"', 'W/"{}"', '"{}-gzip"', 'W/"x", "{}"', "*"])
    @pytest.mark.parametrize("address", ["/api/v1/things/1", "/api/v1/secret"])
    def test_304_if_none_match(self, client: Client, shape: str, address: str) -> None:
        Things.answer = staticmethod(lambda: Response({"a": 1}))
        tag = client.get(address)["ETag"].strip('"')
        answer = client.get(address, headers={"if-none-match": shape.replace("{}", tag)})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer["ETag"] == f'"{tag}"'
        assert answer["Cache-Control"]
        assert not answer.has_header("Content-Type")

    @pytest.mark.parametrize("header", ['"other"', "nonsense"])
    def test_200_if_the_tag_differs(self, client: Client, header: str) -> None:
        assert client.get("/api/v1/things", headers={"if-none-match": header}).status_code == 200

    def test_400_for_a_long_if_none_match(self, client: Client) -> None:
        for length, status in ((1024, 200), (1025, 400)):
            header = '"' + "x" * (length - 2) + '"'
            answer = client.get("/api/v1/things", headers={"if-none-match": header})
            assert answer.status_code == status
        assert "If-None-Match" in answer.json()["detail"]

    def test_tag_starts_with_the_version(self, client: Client) -> None:
        answer = client.get("/api/v1/things/1")
        assert answer["ETag"] == etag(answer.content, 7)
        assert answer["ETag"].startswith('"7.')
        assert client.post("/api/v1/things")["ETag"].startswith('"1.')

    @pytest.mark.parametrize(
        ("header", "version"),
        [
            (None, None),
            ("*", None),
            ('"7.ab12"', 7),
            ('W/"7.ab12-gzip"', 7),
            ('"7.ab", "7.cd"', 7),
            ('"other", "7.ab"', 7),
        ],
    )
    def test_if_match_returns_the_version(self, header: str | None, version: int | None) -> None:
        assert if_match_version(_with_if_match(header), current=7) == version

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ('"other"', PreconditionFailed),
            ('"6.ab"', PreconditionFailed),
            ('"8.ab"', PreconditionFailed),
            ('"7.ab", "8.ab"', PreconditionFailed),
            ('"7"', PreconditionFailed),
            ("7.ab", Malformed),
            ('"7.ab', Malformed),
            ("", Malformed),
            ('"' + "7" * 5000 + '.a"', Malformed),
        ],
    )
    def test_if_match_that_cannot_match_is_refused(self, header: str, problem: type[Exception]) -> None:
        with pytest.raises(problem):
            if_match_version(_with_if_match(header), current=7)


def _with_if_match(header: str | None) -> HttpRequest:
    return RequestFactory().put("/", **({} if header is None else {"HTTP_IF_MATCH": header}))


@pytest.mark.django_db(transaction=True)
def test_local_hit_is_cheap(client: Client) -> None:
    """The engine alone takes microseconds and no round trip."""
    client.get("/api/v1/things")
    key = engine.entry_key("public:/api/v1/things")
    began = time.thread_time()  # CPU time, however busy the machine is
    for _ in range(1000):
        assert engine.peek(key, ("things",))
    assert time.thread_time() - began < 1
