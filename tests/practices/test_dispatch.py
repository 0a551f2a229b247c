"""The base view decides some things once, with the same results as Django REST framework's own code."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from corsheaders.middleware import CorsMiddleware
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import override_settings
from django.utils.cache import patch_vary_headers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.practices.errors import ValidationProblem
from apps.practices.headers.middleware import OriginMiddleware
from apps.practices.mechanisms import negotiation
from apps.practices.mechanisms.json import FastJSONRenderer, JSONResponse
from apps.practices.mechanisms.negotiation import CHOICES_MAX, HEADER_LENGTH, CachedNegotiation
from apps.practices.mechanisms.responses import header_of, header_set, vary_add
from apps.practices.validation.query import query_parameters
from apps.practices.validation.views import StrictView


class CSVRenderer(BaseRenderer):
    media_type = "text/csv"
    format = "csv"


JSON_ONLY = [FastJSONRenderer]
ACCEPTS = [
    None,
    "",
    "*/*",
    "application/json",
    "application/json, text/plain, */*",
    "application/json; indent=4",
    "application/*;q=0.5, text/csv",
    "text/csv",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html",
    "nonsense",
    "text/csv, application/json",
    f"text/html;a={'x' * HEADER_LENGTH}, application/json",
]


def chosen(negotiator: type[DefaultContentNegotiation], accept: str | None, renderers: list[Any]) -> Any:
    """Return the class of the renderer and the media type, or NotAcceptable."""
    request = Request(RequestFactory().get("/", headers={} if accept is None else {"accept": accept}))
    try:
        renderer, media_type = negotiator().select_renderer(request, [one() for one in renderers])
    except NotAcceptable:
        return NotAcceptable
    return type(renderer), media_type


@pytest.fixture(autouse=True)
def _no_choices() -> None:
    negotiation._choices.clear()


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("renderers", [JSON_ONLY, [FastJSONRenderer, CSVRenderer], [CSVRenderer, FastJSONRenderer]])
def test_the_renderer_is_the_one_that_drf_chooses(accept: str | None, renderers: list[Any]) -> None:
    chosen(CachedNegotiation, accept, [CSVRenderer])  # another view's choice for the same header
    wanted = chosen(DefaultContentNegotiation, accept, renderers)
    assert [chosen(CachedNegotiation, accept, renderers) for _ in range(2)] == [wanted, wanted]


def test_remembered_accept_headers_are_bounded_in_number_and_length() -> None:
    for number in range(CHOICES_MAX * 2):
        chosen(CachedNegotiation, f"application/json;a={number}", JSON_ONLY)
    chosen(CachedNegotiation, f"*/*,{'x' * HEADER_LENGTH}", JSON_ONLY)
    assert 0 < len(negotiation._choices) <= CHOICES_MAX
    assert all(len(str(key[0])) <= HEADER_LENGTH for key in negotiation._choices)


def test_a_renderer_is_used_by_the_request_that_it_was_made_for() -> None:
    request = Request(RequestFactory().get("/"))
    CachedNegotiation().select_renderer(request, [FastJSONRenderer()])
    mine = FastJSONRenderer()
    assert CachedNegotiation().select_renderer(request, [mine])[0] is mine


@pytest.mark.parametrize(
    "data",
    [
        {"id": UUID(int=7), "at": datetime(2026, 11, 30, 12, tzinfo=UTC), "price": Decimal("1.50"), "none": None},
        [],
        {},
        "text",
        [{"name": "Ünï\u2028"}],
    ],
)
def test_a_json_response_is_what_drf_makes_of_the_data(data: Any) -> None:
    class Both(APIView):
        permission_classes = [AllowAny]
        throttle_classes = ()
        authentication_classes = ()
        made: type[Any] = Response

        def get(self, request: Request) -> Any:
            return self.made(data, status=202, headers={"Retry-After": "1"})

    def answered(made: type[Any]) -> Any:
        response = Both.as_view(made=made)(RequestFactory().get("/"))
        if isinstance(response, Response):
            response.render()
        return response.status_code, list(response.items()), dict(response.headers), response.content

    assert answered(JSONResponse) == answered(Response)


class Small(StrictView):
    permission_classes = [AllowAny]
    throttle_classes = ()
    authentication_classes = ()

    def get(self, request: Request) -> JSONResponse:
        return JSONResponse({})

    def post(self, request: Request) -> JSONResponse:
        return JSONResponse({})


class Larger(Small):
    def put(self, request: Request) -> JSONResponse:
        return JSONResponse({})


def test_allow_names_the_methods_of_the_class_and_of_its_route() -> None:
    def allowed(view: type[StrictView], **options: Any) -> str:
        return str(view.as_view(**options)(RequestFactory().get("/")).headers["Allow"])

    for _ in range(2):
        assert allowed(Small) == "GET, POST, HEAD, OPTIONS"
        assert allowed(Larger) == "GET, POST, PUT, HEAD, OPTIONS"
        assert allowed(Larger, http_method_names=["get", "put"]) == "GET, PUT"


class Broken(BaseAuthentication):
    def authenticate(self, request: Request) -> Any:
        return request.no_such_attribute


class Refusing(BaseAuthentication):
    def authenticate(self, request: Request) -> Any:
        raise AuthenticationFailed

    def authenticate_header(self, request: Request) -> str:
        return "Basic"


class Silent(BaseAuthentication):
    def authenticate(self, request: Request) -> Any:
        return None


@pytest.mark.parametrize(
    ("classes", "status"), [([Broken], 500), ([Refusing], 401), ([Silent, Refusing], 401), ([Silent], 200), ([], 200)]
)
def test_authentication_runs_before_the_handler(classes: list[Any], status: int) -> None:
    response = Small.as_view(authentication_classes=classes)(RequestFactory().get("/"))
    assert response.status_code == status


@pytest.mark.parametrize("path", ["/?a=1", "/?a", "/?=", "/?a=&b="])
def test_any_query_string_is_read(path: str) -> None:
    with pytest.raises(ValidationProblem):
        query_parameters(RequestFactory().get(path), {})


def test_an_empty_query_string_has_no_parameters() -> None:
    assert query_parameters(RequestFactory().get("/"), {}) == {}


@pytest.mark.parametrize("before", [None, "", "*", "Accept", "accept, Cookie", "Accept,origin"])
@pytest.mark.parametrize("names", [("origin",), ("Accept", "Authorization", "Cookie"), ("*",)])
def test_vary_is_what_django_makes_of_it(before: str | None, names: tuple[str, ...]) -> None:
    ours, theirs = (HttpResponse(headers=None if before is None else {"Vary": before}) for _ in range(2))
    vary_add(ours, *names)
    patch_vary_headers(theirs, names)
    assert dict(ours.headers) == dict(theirs.headers)


def test_headers_set_directly_are_django_headers() -> None:
    response = HttpResponse(headers={"ETag": '"1"'})
    header_set(response, "ETag", '"2"')
    assert response["etag"] == '"2"' == header_of(response, "etag")
    assert header_of(response, "allow") is None
    assert list(response.headers) == ["ETag", "Content-Type"]


@pytest.mark.parametrize("path", ["/api/v1/me", "/page"])
@pytest.mark.parametrize("origin", [None, "", "https://app.example.com", "https://other.example.com", "null"])
@pytest.mark.parametrize("method", ["get", "options"])
def test_cors_headers_are_those_of_the_library(path: str, origin: str | None, method: str) -> None:
    headers = {"Access-Control-Request-Method": "PUT"} | ({} if origin is None else {"Origin": origin})

    def answered(middleware: type[CorsMiddleware]) -> Any:
        request = getattr(RequestFactory(), method)(path, headers=headers)
        response = middleware(lambda _: HttpResponse(headers={"Vary": "Accept"}))(request)
        return response.status_code, dict(response.headers)

    with override_settings(CORS_ALLOWED_ORIGINS=["https://app.example.com"], CORS_ALLOW_CREDENTIALS=True):
        assert answered(OriginMiddleware) == answered(CorsMiddleware)


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_request_is_freed_without_the_garbage_collector(method: str) -> None:
    class Place(StrictView):
        authentication_classes = ()
        permission_classes = (AllowAny,)

        def get(self, request: Request) -> JSONResponse:
            return JSONResponse({"method": request.method})

        def post(self, request: Request) -> JSONResponse:
            return JSONResponse({"data": request.data})

    def ask() -> weakref.ref[Any]:
        request = getattr(RequestFactory(), method)("/", {"a": 1} if method == "post" else None, "application/json")
        assert Place.as_view()(request).status_code == 200
        return weakref.ref(request)

    ask()  # the first request may be in the traceback of an import
    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()
