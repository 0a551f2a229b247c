"""The route of a path is the one that Django finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, include, path, re_path
from django.urls import resolve as django_resolve

from apps.practices.mechanisms import routes
from apps.practices.mechanisms.routes import resolve

ID = "0197d2c5-7f00-7000-8000-000000000001"
VALUES = {"uuid": ID, "int": "7", "str": "ab", "slug": "a-b", "path": "a/b"}


def view(request: HttpRequest, **values: Any) -> HttpResponse:
    return HttpResponse()


def other(request: HttpRequest, **values: Any) -> HttpResponse:
    return HttpResponse()


TRICKY = (
    path("api/v1/notes", view, name="list"),
    path("api/v1/notes/new", view, name="new"),
    path("api/v1/notes/<uuid:id>", view, name="by-id"),
    path("api/v1/notes/<str:slug>", other, name="by-slug"),
    path("api/v1/", include(([path("notes/<path:rest>", view, name="rest"), path("books", view)], "one"), namespace="first")),
    path("api/<str:version>/notes/<int:number>/x", other, name="any-version"),
    path("api/v1/no<str:end>", view, name="part"),
    path("api/v1/books/", include([path("<int:id>", view, {"more": 1}), path("", other)]), {"outer": 2}),
    re_path(r"^api/v1/books/(?P<name>[a-z]+)$", other, name="regex"),
    re_path(r"^api/v1/books/([A-Z]+)$", other, name="unnamed"),
    path("<str:a>/<str:b>/<str:c>", view, name="anything"),
    path("", view, name="home"),
)  # fmt: skip
PATHS = [
    "/",
    "/api/v1/notes",
    "/api/v1/notes/",
    "/api/v1/notes/new",
    f"/api/v1/notes/{ID}",
    f"/api/v1/notes/{ID.upper()}",
    "/api/v1/notes/a/b",
    "/api/v1/notes/7/x",
    "/api/v2/notes/7/x",
    "/api/v1/nobody",
    "/api/v1/notesx",
    "/api/v1/no",
    "/api/v1/books",
    "/api/v1/books/",
    "/api/v1/books/7",
    "/api/v1/books/abc",
    "/api/v1/books/ABC",
    "/api/v1/books/7/8",
    "//api/v1/books",
    "/api//v1/books",
    "/api/v1",
    "/api/v1/",
    "/x/y/z",
    "/x/y/z/",
    "/x/y",
    "x",
    "",
]


def found(function: Any, where: str, urlconf: Any) -> Any:
    """Return all that is known about a match, or Resolver404."""
    try:
        match = function(where, urlconf)
    except Resolver404:
        return Resolver404
    kept = ("func", "args", "kwargs", "url_name", "route", "app_names", "namespaces", "captured_kwargs", "extra_kwargs")
    return {name: getattr(match, name) for name in kept}


def paths(patterns: Any, before: str = "/") -> Iterator[str]:
    """Yield a path for each route of ``path()``."""
    for pattern in patterns:
        text = str(pattern.pattern)
        for kind, value in VALUES.items():
            while f"<{kind}:" in text:
                start, _, rest = text.partition(f"<{kind}:")
                text = start + value + rest.partition(">")[2]
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, before + text)
        else:
            assert isinstance(pattern, URLPattern)
            yield before + text


@pytest.mark.parametrize("where", PATHS)
def test_a_path_has_the_route_that_django_finds(where: str) -> None:
    assert found(resolve, where, TRICKY) == found(django_resolve, where, TRICKY)


@pytest.mark.parametrize("urlconf", ["project.urls", "tests.sample.urls"])
def test_each_route_of_the_service_is_found(urlconf: str) -> None:
    every = list(paths(get_resolver(urlconf).url_patterns))
    assert len(every) > 5
    wrong = {
        where
        for one in every
        for where in (one, f"{one}/", f"{one}x", one.rpartition("/")[0])
        if found(resolve, where, urlconf) != found(django_resolve, where, urlconf)
    }
    assert wrong == set()


def test_few_patterns_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    one = URLPattern.resolve
    monkeypatch.setattr(URLPattern, "resolve", lambda self, rest: (tried.append(rest), one(self, rest))[1])
    resolve(f"/api/v1/users/{ID}", "project.urls")
    assert len(tried) < 10


def test_translated_routes_are_left_to_django() -> None:
    routes._resolvers.cache_clear()
    try:
        with override_settings(USE_I18N=True):
            assert routes._resolvers(TRICKY) == {}
    finally:
        routes._resolvers.cache_clear()
