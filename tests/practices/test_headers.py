"""headers: on every response of the application; no inline code; CORS for listed origins."""

import re
from dataclasses import replace
from runpy import run_path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, RequestFactory
from django.test.utils import override_settings
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator

from settings.env import ENVIRONMENT
from tests.apps.accounts.factories import admin_sign_in
from tests.problems import assert_problem
from tools.fleet import ROOT

pytestmark = [pytest.mark.urls("tests.practices.failing"), pytest.mark.django_db]

EXPECTED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Download-Options": "noopen",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-XSS-Protection": "0",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"
APP = "https://app.example.com"


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def directives(policy: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for part in policy.split(";") if (words := part.split())}


# Every response


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("get", "/page", {}),
        ("get", "/api/v1/plain", {}),
        ("head", "/api/v1/plain", {}),
        ("options", "/api/v1/plain", {}),
        ("options", "/api/v1/plain", {"Origin": APP, "Access-Control-Request-Method": "GET"}),
        ("get", "/nowhere", {}),
        ("get", "/nowhere", {"Accept": "text/html"}),
        ("get", "/page", {"Host": "evil.example"}),
        ("get", "/failing/bug", {}),
        ("get", "/api/v1/failing/bug", {}),
        ("get", "/api/v1/failing/postgres-away", {}),
        ("post", "/page", {}),
        ("get", "/stream/2", {}),
        ("get", "/healthz", {}),
        ("get", "/readyz", {}),
        ("get", "/metrics", {}),
        ("get", "/problems", {}),
        ("get", "/admin/login/", {}),
        ("get", "/admin/", {}),
        ("get", "/static/admin/css/base.css", {}),
        ("get", "/api/docs", {}),
        ("get", "/api/schema", {}),
    ],
)
def test_every_response_has_the_headers(client: Client, method: str, path: str, headers: dict[str, str]) -> None:
    response = getattr(client, method)(path, headers=headers)
    found = {name: response.headers.get(name) for name in EXPECTED}
    assert found == EXPECTED
    assert "camera=()" in response.headers["Permissions-Policy"]
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe-" not in policy
    assert directives(policy)["default-src"] == ["'none'"]
    assert directives(policy)["frame-ancestors"] == ["'none'"]
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    assert (policy == NOTHING) is not is_page
    assert "X-Powered-By" not in response.headers
    response.close()


def test_cached_response_has_the_headers(client: Client) -> None:
    """The second response comes from the cache; its headers do not differ."""
    answers = [client.get("/api/v1/sample/notes") for _ in range(2)]
    for response in answers:
        assert {name: response.headers.get(name) for name in EXPECTED} == EXPECTED
        assert response.headers["Content-Security-Policy"] == NOTHING


def test_extra_headers_by_setting(settings: Any) -> None:
    settings.HEADERS_EXTRA = {"X-Robots-Tag": "noindex, nofollow"}
    assert Client().get("/nowhere").headers["X-Robots-Tag"] == "noindex, nofollow"


def test_view_may_set_its_own_headers(client: Client) -> None:
    response = client.get("/framed")
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert directives(response.headers["Content-Security-Policy"])["frame-ancestors"] == ["'self'"]


# Pages under the policy

_INLINE = re.compile(
    r"<style(?![^>]*nonce)|<script(?![^>]*(src=|nonce))|\sstyle=|\son[a-z]+=\"|javascript:", re.IGNORECASE
)


def test_nonce_only_for_pages_that_use_it(client: Client) -> None:
    first, second = client.get("/nonce"), client.get("/nonce")
    nonces = []
    for response in (first, second):
        sources = directives(response.headers["Content-Security-Policy"])["script-src"]
        nonces.append(next(source for source in sources if source.startswith("'nonce-")))
        assert nonces[-1][7:-1] in response.content.decode()
    assert nonces[0] != nonces[1]
    assert "nonce" not in client.get("/page").headers["Content-Security-Policy"]


def test_admin_has_nothing_inline(client: Client, admin_user: Any) -> None:
    admin_sign_in(client, admin_user)
    paths = ["/admin/", "/admin/password_change/"]
    for model, site in admin.site._registry.items():
        request = RequestFactory().get("/")
        request.user = get_user_model()(is_superuser=True, is_active=True)
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths.append(reverse(f"{name}_changelist"))
        if site.has_add_permission(request):
            paths.append(reverse(f"{name}_add"))
    for path in paths:
        _assert_nothing_inline(client.get(path))


@pytest.mark.parametrize("path", ["/api/docs", "/admin/login/", "/problems", "/problems/conflict"])
def test_public_pages_have_nothing_inline(client: Client, path: str) -> None:
    _assert_nothing_inline(client.get(path, headers={"Accept": "text/html"}))


def _assert_nothing_inline(response: Any) -> None:
    assert response.status_code == 200
    text = response.content.decode()
    found = _INLINE.search(text)
    assert not found, text[max(0, found.start() - 80) : found.end() + 80]
    for address in re.findall(r'(?:src|href)="([^"#]+)"', text):
        local = address.startswith(("/", "?", ".")) or not re.match(r"[a-z]+:|//", address)
        is_loaded = re.search(r'<(script|link|img)[^>]*="' + re.escape(address), text)
        assert local or not is_loaded, f"{address} is loaded from another host"


def test_csp_report_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENVIRONMENT.entries["CSP_REPORT_URI"]
    monkeypatch.setitem(ENVIRONMENT.entries, "CSP_REPORT_URI", replace(entry, value="https://r.example/csp"))
    component = run_path(str(ROOT / "settings/components/headers.py"))
    with override_settings(
        CONTENT_SECURITY_POLICY=component["CONTENT_SECURITY_POLICY"], HEADERS_EXTRA=component["HEADERS_EXTRA"]
    ):
        headers = Client().get("/page").headers
    policy = directives(headers["Content-Security-Policy"])
    assert policy["report-uri"] == ["https://r.example/csp"]
    assert policy["report-to"] == ["csp"]
    assert headers["Reporting-Endpoints"] == 'csp="https://r.example/csp"'


# CORS


def test_listed_origin_reads_responses_errors_and_headers(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    for path in ("/api/v1/plain", "/api/v1/failing/conflict", "/api/v1/nowhere", "/api/v1/failing/bug"):
        response = Client(raise_request_exception=False).get(path, headers={"Origin": APP})
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Link", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID"} <= set(
            exposed
        )


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{APP}.evil.example", "http://app.example.com", "null", "*", "nonsense", "http://[::1"],
)
def test_other_origins_get_no_cors_headers(settings: Any, origin: str) -> None:
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    for response in (
        Client().get("/api/v1/plain", headers={"Origin": origin}),
        Client().options("/api/v1/plain", headers=asked),
    ):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(("listed", "credentials"), [("", False), (APP, True)])
def test_credentials_only_with_listed_origins(monkeypatch: pytest.MonkeyPatch, listed: str, credentials: bool) -> None:
    entry = ENVIRONMENT.entries["CORS_ALLOWED_ORIGINS"]
    monkeypatch.setitem(ENVIRONMENT.entries, "CORS_ALLOWED_ORIGINS", replace(entry, value=[listed] if listed else []))
    component = run_path(str(ROOT / "settings/components/headers.py"))
    assert component["CORS_ALLOW_CREDENTIALS"] is credentials
    with override_settings(**{name: component[name] for name in component if name.startswith("CORS_")}):
        assert _ids() == set()


def test_responses_vary_by_origin(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    for headers in ({}, {"Origin": APP}, {"Origin": "https://evil.example"}):
        varied = Client().get("/api/v1/plain", headers=headers).headers["Vary"].lower()
        assert "origin" in varied


@pytest.mark.urls("tests.sample.urls")
def test_cached_response_names_the_caller_origin(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP, "https://two.example.com"], True
    for origin in (APP, "https://two.example.com", "https://evil.example", APP):
        response = Client().get("/api/v1/sample/notes", headers={"Origin": origin})
        assert response.headers.get("Access-Control-Allow-Origin") == (None if "evil" in origin else origin)
        assert "origin" in response.headers["Vary"].lower()
    assert "hit" in response.headers["Cache-Status"]


def test_pages_have_no_cors_headers(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    assert "Access-Control-Allow-Origin" not in Client().get("/page", headers={"Origin": APP}).headers


def test_preflight_lists_methods_and_headers(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    asked = {"Origin": APP, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-csrftoken"}
    response = Client().options("/api/v1/plain", headers=asked)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert "origin" in response.headers["Vary"].lower()
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "if-match", "idempotency-key", "x-csrftoken"} <= set(
        response.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert response.headers["Access-Control-Max-Age"] == "7200"


def _documented(*, inward: bool) -> set[str]:
    """Return the header names of requests, or of responses, in the OpenAPI document, in lower case."""
    document = SchemaGenerator(urlconf="project.urls").get_schema(public=True)
    operations = [one for path in document["paths"].values() for one in path.values() if isinstance(one, dict)]
    if inward:
        parameters = [one for operation in operations for one in operation.get("parameters", [])]
        schemes = document["components"]["securitySchemes"].values()
        named = [*parameters, *(scheme for scheme in schemes if scheme["type"] == "apiKey")]
        return {one["name"].lower() for one in named if one["in"] == "header"}
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    return {name.lower() for answer in answers for name in answer.get("headers", {})}


def test_cors_covers_every_documented_header(settings: Any) -> None:
    """Tracing in the page, which adds headers to every call, makes no preflight fail."""
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    tracing = {"traceparent", "tracestate", "baggage", "sentry-trace"}
    documented = _documented(inward=True)
    assert {"if-match", "idempotency-key", "x-csrftoken"} <= documented
    for name in documented | tracing | {"if-none-match", "authorization", "content-type", "x-request-id"}:
        asked = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": name}
        allowed = Client().options("/api/v1/plain", headers=asked).headers["Access-Control-Allow-Headers"]
        assert name in allowed.split(", ")
    exposed = Client().get("/api/v1/plain", headers={"Origin": APP}).headers["Access-Control-Expose-Headers"].lower()
    # The browser itself handles cookies and CORS headers.
    answers = _documented(inward=False) - {"set-cookie", "access-control-allow-origin"}
    assert {"etag", "location", "retry-after"} <= answers
    assert answers | {"allow", "www-authenticate", "idempotency-replayed"} <= set(exposed.split(", "))


def test_refusals_of_middlewares_have_cors_headers(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/api/v1/plain", headers={"Origin": APP})
    assert_problem(response, 403, "https-required")
    assert response.headers["Access-Control-Allow-Origin"] == APP


# The checks


def _ids() -> set[str | None]:
    return {message.id for message in run_checks(tags=["headers"]) if str(message.id).startswith("headers.")}


def test_checks_pass_with_the_settings() -> None:
    assert _ids() == set()


@pytest.mark.parametrize(
    ("changes", "id"),
    [
        ({"CORS_ALLOW_ALL_ORIGINS": True, "CORS_ALLOW_CREDENTIALS": True}, "headers.E001"),
        (
            {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://.*\.example\.com$"], "CORS_ALLOW_CREDENTIALS": True},
            "headers.E002",
        ),
        ({"CORS_ALLOWED_ORIGINS": ["null"]}, "headers.E003"),
        ({"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": ["'unsafe-inline'"]}}}, "headers.E004"),
        ({"CONTENT_SECURITY_POLICY": None}, "headers.E004"),
        ({"HEADERS_DATA_POLICY": ""}, "headers.E004"),
    ],
)
def test_checks_report_unsafe_settings(settings: Any, changes: dict[str, Any], id: str) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    assert _ids() == {id}
    with pytest.raises(SystemCheckError, match=id):
        call_command("check", tags=["headers"])


def test_patterns_without_credentials_are_allowed(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://.*\.example\.com$"]
    assert _ids() == set()
