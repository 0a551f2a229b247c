"""errors, on every route there is: whatever a stranger sends, an error is a problem document and never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from tests.problems import assert_problem

pytestmark = pytest.mark.django_db

VALUES = {"uuid": "01890000-0000-7000-8000-000000000000", "int": "1", "slug": "x", "str": "x", "path": "x/y"}
# Answers of their own: liveness never fails, readiness says what is wrong with a 503.
OWN_WORDS = ("/healthz", "/readyz")


def _routes(resolver: URLResolver, prefix: str = "/") -> Iterator[str]:
    """Yield every path of the URL configuration, with a value for each parameter."""
    for entry in resolver.url_patterns:
        path = prefix + _filled(entry.pattern)
        if isinstance(entry, URLPattern):
            yield path
        else:
            yield from _routes(entry, path)


def _filled(pattern: Any) -> str:
    if not isinstance(pattern, RoutePattern):
        return "x"
    text = str(pattern)
    for name, converter in pattern.converters.items():
        kind = type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
        for written in (f"<{kind}:{name}>", f"<{name}>"):
            text = text.replace(written, VALUES[kind])
    return text


def _attacks(path: str) -> dict[str, dict[str, Any]]:
    """Return bad requests, by what is wrong with them."""
    body = {"content_type": "application/json"}
    return {
        "no such method": {"method": "BREW"},
        "wrong method": {"method": "PATCH", "data": "{}", **body},
        "delete": {"method": "DELETE"},
        "bad accept": {"method": "GET", "headers": {"Accept": "image/png"}},
        "unreadable accept": {"method": "GET", "headers": {"Accept": ";;;q=,text/"}},
        "bad token": {"method": "GET", "headers": {"Authorization": "Bearer a.b.c"}},
        "not a token": {"method": "GET", "headers": {"Authorization": "Bearer \u00ff \x7f"}},
        "unknown parameter": {"method": "GET", "query_params": {"no-such-parameter": "\x00"}},
        "half a body": {"method": "POST", "data": '{"a": ', **body},
        "not even text": {"method": "POST", "data": b"\xff\xfe\x00", **body},
        "too deep": {"method": "POST", "data": "[" * 50_000, **body},
        "not an object": {"method": "POST", "data": "[1, null]", **body},
        "strange type": {"method": "POST", "data": "x", "content_type": "application/x-strange"},
        "type without boundary": {"method": "POST", "data": "x", "content_type": "multipart/form-data"},
        "no type": {"method": "PUT", "data": "x", "content_type": ""},
    }


def test_every_route_returns_problems_for_bad_requests() -> None:
    client = Client(raise_request_exception=False)
    routes = sorted(set(_routes(get_resolver())))
    assert len(routes) > 20
    answered = 0
    for path in routes:
        for name, attack in _attacks(path).items():
            response = client.generic(path=path, **attack)
            where = f"{attack['method']} {path} ({name})"
            try:
                assert response.status_code < 500 or path in OWN_WORDS
                if response.status_code >= 400 and path not in OWN_WORDS:
                    assert_problem(response, response.status_code)
                    answered += 1
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}") from error
            finally:
                response.close()
    assert answered > len(routes)


def test_every_route_refuses_an_unknown_host() -> None:
    client = Client(raise_request_exception=False)
    for path in sorted(set(_routes(get_resolver()))):
        if path not in OWN_WORDS:
            for host in ("evil.example", "testserver@evil.example", "a b", "testserver:x"):
                document = assert_problem(client.get(path, headers={"Host": host}), 400, "bad-host")
                assert "evil" not in json.dumps(document)


def test_every_api_route_requires_https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client(raise_request_exception=False)
    for path in sorted(set(_routes(get_resolver()))):
        if path.startswith("/api/"):
            for method in ("get", "post", "options"):
                assert_problem(getattr(client, method)(path), 403, "https-required")
