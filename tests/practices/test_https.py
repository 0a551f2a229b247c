"""https: pages are redirected, plain API calls refused, and only trusted proxies report the scheme."""

from dataclasses import replace
from runpy import run_path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, RequestFactory

from apps.practices.mechanisms.scheme import forwarded_scheme, trusted_hops
from settings.env import ENVIRONMENT
from tests.problems import assert_problem
from tools.fleet import ROOT

pytestmark = [pytest.mark.urls("tests.practices.failing"), pytest.mark.django_db]

PUBLIC = "https://api.example.com"


@pytest.fixture
def deployed(settings: Any) -> Any:
    """Apply the settings of a deployed service behind one proxy."""
    settings.PUBLIC_URL = PUBLIC
    settings.ALLOWED_HOSTS = ["testserver", "api.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 63_072_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    settings.TRUSTED_PROXIES = 1
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    settings.TOKENS_COOKIE_SECURE = True
    settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE = "__Host-access", "__Secure-refresh"
    settings.TOKENS_BINDING_COOKIE, settings.TOKENS_DEVICE_COOKIE = "__Host-binding", "__Host-device"
    return settings


# Plain requests


@pytest.mark.parametrize("path", ["/page", "/page?a=1&b=%20x", "/nowhere", "/p%C3%A4ge?q=\u00e4"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_pages_redirect_to_the_public_url(deployed: Any, method: str, path: str) -> None:
    response = getattr(Client(), method)(path)
    assert response.status_code == 301
    location = response.headers["Location"]
    assert location.startswith(f"{PUBLIC}/")
    assert location.isascii()
    if path.isascii():
        assert location == PUBLIC + path


def test_double_slash_path_does_not_become_a_host(deployed: Any) -> None:
    response = Client().request(PATH_INFO="//evil.example/", REQUEST_METHOD="GET")
    assert response.headers["Location"] == f"{PUBLIC}//evil.example/"


@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "options"])
def test_plain_api_calls_are_refused(deployed: Any, method: str) -> None:
    response = getattr(Client(), method)("/api/v1/plain", headers={"Authorization": "Bearer x"})
    document = assert_problem(response, 403, "https-required")
    assert document["type"] == f"{PUBLIC}/problems/https-required"
    assert "Location" not in response.headers
    assert "Strict-Transport-Security" not in response.headers


def test_plain_form_posts_are_refused(deployed: Any) -> None:
    assert_problem(Client().post("/page"), 403, "https-required")


def test_unknown_host_is_refused_before_redirects(deployed: Any) -> None:
    assert_problem(Client().get("/page", headers={"Host": "evil.example"}), 400, "bad-host")


def test_health_checks_need_no_https(deployed: Any) -> None:
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/readyz").status_code != 301


# Secure requests


@pytest.mark.parametrize(
    "path", ["/page", "/api/v1/plain", "/api/v1/failing/conflict", "/nowhere", "/failing/bug", "/healthz"]
)
def test_secure_responses_have_hsts(deployed: Any, path: str) -> None:
    response = Client().get(path, headers={"X-Forwarded-Proto": "https"})
    assert response.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


def test_cookies_are_bound_to_host_and_https(deployed: Any) -> None:
    cookies = Client().get("/admin/login/", headers={"X-Forwarded-Proto": "https"}).cookies
    cookie = cookies["__Host-csrftoken"]
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"]


# Trusted proxies

A, B, OURS, EDGE = "203.0.113.7", "198.51.100.9", "10.0.0.5", "127.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "peer", "chain", "proto", "scheme"),
    [
        (0, A, None, "https", None),
        (0, EDGE, None, "https", None),
        (1, A, A, "https", "https"),
        (1, A, A, "http", "http"),
        (1, A, A, None, None),
        (1, A, A, "HTTPS", "https"),
        (1, A, A, "gopher", None),
        (1, A, f"{B}, {A}", "https, http", "http"),
        (2, A, f"{B}, {A}", "https, http", "https"),
        (2, A, f"{B}, {A}", "https", "https"),
        (["10.0.0.0/8"], A, OURS, "https", None),
        (["10.0.0.0/8"], EDGE, A, "https", None),
        (["10.0.0.0/8"], OURS, A, "https", "https"),
        (["10.0.0.0/8"], f"::ffff:{OURS}", A, "https", "https"),
        (["10.0.0.0/8"], OURS, A, "https, http", "http"),
        (["10.0.0.0/8"], OURS, f"{A}, 10.9.9.9", "https, http", "https"),
        (["10.0.0.0/8"], OURS, f"10.1.1.1, {A}", "https, http", "http"),
        (["10.0.0.0/8", "fd00::/8"], "fd00::1", A, "https", "https"),
        (["10.0.0.0/8"], "", A, "https", None),
        (["10.0.0.0/8"], "not an address", A, "https", None),
    ],
)
def test_scheme_only_from_trusted_proxies(
    settings: Any, trusted: Any, peer: str, chain: str | None, proto: str | None, scheme: str | None
) -> None:
    settings.TRUSTED_PROXIES = trusted
    request = RequestFactory().get("/")
    meta = request.META
    meta["REMOTE_ADDR"] = peer
    if chain is not None:
        meta["HTTP_X_FORWARDED_FOR"] = chain
    if proto is not None:
        meta["HTTP_X_FORWARDED_PROTO"] = proto
    assert forwarded_scheme(request.META) == scheme


def test_long_chains_are_read_in_part(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    request = RequestFactory().get("/", REMOTE_ADDR=OURS, HTTP_X_FORWARDED_FOR=",".join([OURS] * 5000))
    assert trusted_hops(request.META) <= 40


@pytest.mark.parametrize(("trusted", "served"), [(1, True), (0, False), (["192.0.2.0/24"], False)])
def test_forged_scheme_is_ignored(deployed: Any, trusted: Any, served: bool) -> None:
    """The test client's address is 127.0.0.1; loopback is not trusted unless listed."""
    deployed.TRUSTED_PROXIES = trusted
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "Forwarded": "proto=https"}
    response = Client().get("/api/v1/plain", headers=headers)
    if served:
        assert response.json() == {"scheme": "https"}
    else:
        assert_problem(response, 403, "https-required")


# The settings


@pytest.mark.parametrize(("url", "secure"), [("https://api.example.com", True), ("http://localhost:8000", False)])
def test_settings_follow_the_scheme_of_public_url(monkeypatch: pytest.MonkeyPatch, url: str, secure: bool) -> None:
    entry = ENVIRONMENT.entries["PUBLIC_URL"]
    monkeypatch.setitem(ENVIRONMENT.entries, "PUBLIC_URL", replace(entry, value=url))
    component = run_path(str(ROOT / "settings/components/https.py"))
    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "TOKENS_COOKIE_SECURE"):
        assert component[name] is secure
    assert component["TOKENS_REFRESH_COOKIE"].startswith("__Secure-") is secure
    for name in ("TOKENS_ACCESS_COOKIE", "TOKENS_BINDING_COOKIE", "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME"):
        assert component[name].startswith("__Host-") is secure
    assert (component["SECURE_HSTS_SECONDS"] >= 31_536_000) is secure


@pytest.mark.parametrize(
    ("site", "own"), [("Shipshape", "shipshape"), ("Tide & Tables 2!", "tide-tables-2"), ("\u6e7e", "site")]
)
def test_localhost_cookies_have_the_service_name(monkeypatch: pytest.MonkeyPatch, site: str, own: str) -> None:
    """All ports of a host share their cookies (RFC 6265, 8.5), and other projects use names such as `sessionid`."""
    for name, value in (("PUBLIC_URL", "http://localhost:8000"), ("SITE_NAME", site)):
        monkeypatch.setitem(ENVIRONMENT.entries, name, replace(ENVIRONMENT.entries[name], value=value))
    component = run_path(str(ROOT / "settings/components/https.py"))
    names = {value for name, value in component.items() if name.endswith(("_COOKIE", "_COOKIE_NAME"))}
    assert names == {f"{own}-{one}" for one in ("access", "refresh", "binding", "device", "sessionid", "csrftoken")}


# The checks


def _ids(*, deploy: bool) -> set[str | None]:
    return {
        message.id
        for message in run_checks(tags=["https"], include_deployment_checks=deploy)
        if str(message.id).startswith("https.")
    }


def test_checks_pass_for_a_deployed_service(deployed: Any) -> None:
    assert _ids(deploy=True) == set()


@pytest.mark.parametrize(
    ("name", "value", "id", "deploy"),
    [
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https"), "https.E001", False),
        ("USE_X_FORWARDED_HOST", True, "https.E002", False),
        ("SESSION_COOKIE_SECURE", False, "https.E007", True),
        ("CSRF_COOKIE_NAME", "csrftoken", "https.E007", True),
        ("SESSION_COOKIE_DOMAIN", ".example.com", "https.E007", True),
        ("TOKENS_ACCESS_COOKIE", "__Secure-access", "https.E007", True),
        ("TOKENS_REFRESH_COOKIE", "refresh", "https.E007", True),
        ("TOKENS_BINDING_COOKIE", "__Secure-binding", "https.E007", True),
        ("TOKENS_COOKIE_SECURE", False, "https.E007", True),
        ("TRUSTED_PROXIES", 0, "https.W001", True),
    ],
)
def test_checks_report_unsafe_settings(deployed: Any, name: str, value: Any, id: str, deploy: bool) -> None:
    setattr(deployed, name, value)
    assert _ids(deploy=deploy) == {id}
    with pytest.raises(SystemCheckError, match=id):
        call_command("check", tags=["https"], deploy=deploy, fail_level="WARNING" if ".W" in id else "ERROR")


def test_granian_needs_a_proxy(deployed: Any) -> None:
    deployed.WEB_SERVER = "granian"
    assert _ids(deploy=True) == set()
    deployed.TRUSTED_PROXIES = 0
    with pytest.raises(SystemCheckError, match=r"https\.E008"):
        call_command("check")
