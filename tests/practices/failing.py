"""Views that fail in every way a view can: the URL configuration of the tests of errors, headers and https."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import redis
from csp.decorators import csp_replace
from django.contrib.auth.models import Group
from django.core import exceptions
from django.db import IntegrityError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseForbidden, StreamingHttpResponse
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.http import require_GET
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.practices.errors import Conflict, FieldError, Problem, Unavailable, ValidationProblem
from apps.practices.mechanisms.requests import django_request
from project.urls import handler400, handler403, handler404, handler500
from project.urls import urlpatterns as project_urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

SECRET = "hunter2-of-the-database"


class TeapotBusy(Problem, status=418, type="teapot-busy", title="The teapot is busy"):
    explanation = "Somebody else is brewing. Come back later."


def endless(depth: int = 0) -> int:
    return endless(depth + 1) + 1


def refused_psycopg() -> None:
    psycopg.connect(host="127.0.0.1", port=1, user=SECRET, connect_timeout=2)


def refused_redis() -> None:
    redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)).ping()


def twice_the_same() -> None:
    with transaction.atomic():
        Group.objects.create(name="taken")
        Group.objects.create(name="taken")


def too_large_for_the_column() -> None:
    Group.objects.filter(id=2**70).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::smallint", [10**6])


def not_null_broken() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO auth_group (name) VALUES (NULL)")


def problem_in_model_validation() -> None:
    Group(name="").full_clean()


def raiser(exception: BaseException) -> Any:
    def fail() -> None:
        raise exception

    return fail


FAILURES: dict[str, tuple[Any, int, str]] = {
    # name: (what it does, status, problem type)
    "bug": (raiser(RuntimeError(f"password is {SECRET}")), 500, "internal-error"),
    "recursion": (endless, 500, "internal-error"),
    "not-found": (raiser(Http404(f"No Vault matches {SECRET}")), 404, "not-found"),
    "forbidden": (raiser(exceptions.PermissionDenied(SECRET)), 403, "permission-denied"),
    "suspicious": (raiser(exceptions.SuspiciousOperation(SECRET)), 400, "malformed"),
    "bad-request": (raiser(exceptions.BadRequest(SECRET)), 400, "malformed"),
    "too-big": (raiser(exceptions.RequestDataTooBig(SECRET)), 413, "body-too-large"),
    "too-many-fields": (raiser(exceptions.TooManyFieldsSent(SECRET)), 400, "too-many-fields"),
    "too-many-files": (raiser(exceptions.TooManyFilesSent(SECRET)), 400, "too-many-fields"),
    "model-validation": (problem_in_model_validation, 400, "validation"),
    "conflict": (raiser(Conflict("The slug is taken.")), 409, "conflict"),
    "own-type": (raiser(TeapotBusy("Two minutes more.", retry_after=120)), 418, "teapot-busy"),
    "validation": (
        raiser(ValidationProblem(errors=[FieldError("?limit", "max_value", "At most 100.")])),
        400,
        "validation",
    ),
    "unavailable": (raiser(Unavailable(retry_after=7)), 503, "unavailable"),
    "postgres-away": (refused_psycopg, 503, "unavailable"),
    "redis-away": (refused_redis, 503, "unavailable"),
    "unique": (twice_the_same, 409, "conflict"),
    "not-null": (not_null_broken, 500, "internal-error"),
    "out-of-range": (too_large_for_the_column, 400, "validation"),
    "integrity-by-hand": (raiser(IntegrityError(SECRET)), 500, "internal-error"),
    "drf-parse": (raiser(drf.ParseError("JSON parse error at 3")), 400, "malformed"),
    "drf-auth": (raiser(drf.AuthenticationFailed()), 401, "authentication-failed"),
    "drf-no-auth": (raiser(drf.NotAuthenticated()), 401, "not-authenticated"),
    "drf-permission": (raiser(drf.PermissionDenied()), 403, "permission-denied"),
    "drf-not-found": (raiser(drf.NotFound()), 404, "not-found"),
    "drf-throttled": (raiser(drf.Throttled(wait=12.2)), 429, "too-many-requests"),
    "drf-media": (raiser(drf.UnsupportedMediaType("text/x")), 415, "unsupported-media-type"),
    "drf-accept": (raiser(drf.NotAcceptable()), 406, "not-acceptable"),
    "drf-generic": (raiser(drf.APIException(SECRET)), 500, "internal-error"),
}


class FailingAPI(APIView):
    """Fails as the path says."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes: list[Any] = []
    parser_classes = [JSONParser, MultiPartParser]
    renderer_classes = [JSONRenderer]

    def get(self, request: Request, name: str) -> Response:
        FAILURES[name][0]()
        return Response({})


class Author(serializers.Serializer):
    name = serializers.CharField(max_length=3)


class Book(serializers.Serializer):
    title = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)
    authors = Author(many=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["title"] == "whole":
            raise serializers.ValidationError("The whole is wrong.")
        return attrs


class BooksAPI(FailingAPI):
    """Validates its body."""

    def post(self, request: Request) -> Response:
        book = Book(data=request.data, many=isinstance(request.data, list))
        book.is_valid(raise_exception=True)
        return Response(book.data)


class ForeignAPI(FailingAPI):
    """Answers with an error body of its own making."""

    def get(self, request: Request) -> Response:
        return Response({"oops": SECRET}, status=409, headers={"X-Kept": "yes", "ETag": '"x"'})


def failing_page(request: HttpRequest, name: str) -> HttpResponse:
    FAILURES[name][0]()
    return HttpResponse("fine")


def deep_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(json.loads(request.body))))


def form_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(request.POST))


def foreign_page(request: HttpRequest) -> HttpResponse:
    return HttpResponseForbidden()


def corrected_form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>Please correct the fields.</p>", status=422)


def own_body(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("starting", content_type="text/plain", status=503)
    response.problem_exempt = True
    return response


def stream(request: HttpRequest, good: int) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        for number in range(good):
            yield b"%d\n" % number
        raise RuntimeError(SECRET)

    return StreamingHttpResponse(chunks(), content_type="text/csv", headers={"Content-Disposition": "attachment"})


def nonce_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<script nonce={request.csp_nonce}>1</script>")


@csp_replace({"frame-ancestors": ["'self'"]})
def framed_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>framed</p>", headers={"X-Frame-Options": "SAMEORIGIN"})


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<p>{request.scheme}</p>")


class PlainAPI(FailingAPI):
    """Answers."""

    def get(self, request: Request) -> Response:
        return Response({"scheme": django_request(request).scheme})


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/failing/<str:name>", FailingAPI.as_view()),
    path("api/v1/books", BooksAPI.as_view()),
    path("api/v1/foreign", ForeignAPI.as_view()),
    path("api/v1/plain", PlainAPI.as_view()),
    path("api/v1/stream/<int:good>", stream),
    path("failing/<str:name>", failing_page),
    path("deep", deep_page),
    path("form", form_page),
    path("foreign", foreign_page),
    path("corrected-form", corrected_form),
    path("own-body", own_body),
    path("stream/<int:good>", stream),
    path("nonce", nonce_page),
    path("framed", framed_page),
    path("page", page),
    *project_urlpatterns,
]
