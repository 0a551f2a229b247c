"""The OpenAPI document, the API reference, the home page, and the welcome page of a development server."""

from functools import cache
from hashlib import sha256

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import OpenApiJsonRenderer2

from apps.accounts.services.demo import DEMO_EMAIL, DEMO_PASSWORD, demo_user_exists
from apps.operations.openapi import document_generate


@cache
def _schema() -> tuple[bytes, str]:
    """Return the document and its entity tag. Routes do not change while a process runs."""
    document = OpenApiJsonRenderer2().render(document_generate())
    return document, f'"{sha256(document).hexdigest()[:32]}"'


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    document, etag = _schema()
    response = HttpResponse(
        document,
        content_type="application/vnd.oai.openapi+json",
        headers={"Cache-Control": "public, max-age=60", "ETag": etag},
    )
    return get_conditional_response(request, etag=etag, response=response) or response


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "docs.html", {"site_name": settings.SITE_NAME})


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Return the home page, with links to the API's documents. It is the same for everybody, so it may be cached."""
    response = render(request, "home.html", {"site": settings.SITE_NAME})
    response["Cache-Control"] = "public, max-age=300"
    return response


@require_safe
def welcome(request: HttpRequest) -> HttpResponse:
    """Return the welcome page: the demo account, and a command for each of the thirteen practices."""
    demo = {"demo_email": DEMO_EMAIL, "demo_password": DEMO_PASSWORD} if demo_user_exists() else {}
    url = request.build_absolute_uri("/").rstrip("/")
    return render(request, "welcome.html", {"site_name": settings.SITE_NAME, "url": url, **demo})
