"""Cookie mode in a real browser over https: a front end of the same site can use it, other pages cannot.

The service's host is `localhost`, so pages of any port of it are of the same site, and `127.0.0.1` is another one. Pages are
served with the edge's own certificate.
"""

import http.server
import ssl
import sys
import threading
from contextlib import contextmanager

import pytest

from tests.fleet import ask, fleet_running
from tests.processes import wait_until
from tools.stack import port_free

PASSWORD = "tide tables and lanterns"
PAGE = b"<!doctype html><title>A front end</title><h1>A front end</h1>"
# Asks as a page's script does; what the browser does not let the script read is an error.
CALL = """async ([url, method, body, headers, mode]) => {
  const options = {method, credentials: "include", headers: headers || {}, mode: mode || "cors"};
  if (body !== null) {
    options.body = typeof body === "string" ? body : JSON.stringify(body);
    if (typeof body !== "string") options.headers["Content-Type"] = "application/json";
  }
  try {
    const answer = await fetch(url, options);
    const text = await answer.text();
    return {status: answer.status, tag: answer.headers.get("ETag"), body: text ? JSON.parse(text) : null};
  } catch (error) {
    return {error: String(error)};
  }
}"""
FORM = """([url, type, name, value]) => {
  const form = document.createElement("form");
  Object.assign(form, {action: url, method: "POST", enctype: type});
  const field = document.createElement("input");
  Object.assign(field, {name, value, type: "hidden"});
  form.append(field);
  document.body.append(form);
  form.submit();
}"""


class Page(http.server.BaseHTTPRequestHandler):
    """One page at every address."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        """Log nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A browser that does not know a certificate breaks off before it asks again."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ssl.SSLError | ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def pages(fleet, port):
    """Serve the page on a port by https while the block runs."""
    found = list(fleet.edge.data.glob("caddy/certificates/local/localhost/localhost.*"))
    files = {path.suffix: path for path in found}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[".crt"], files[".key"])
    server = Server(("127.0.0.1", port), Page)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def site(stack):
    """Start the service behind its edge, a listed front end, and an unlisted page of the same site."""
    listed, unlisted = port_free(), port_free()
    with (
        fleet_running(stack, instances=1, CORS_ALLOWED_ORIGINS=f"https://localhost:{listed}") as fleet,
        pages(fleet, listed),
        pages(fleet, unlisted),
    ):
        fleet.listed, fleet.unlisted = f"https://localhost:{listed}", f"https://localhost:{unlisted}"
        fleet.foreign = f"https://127.0.0.1:{unlisted}"
        yield fleet


@pytest.fixture
def person(site, request):
    """Create an account for the test; return its e-mail address."""
    email = f"{abs(hash(request.node.nodeid))}@example.com"
    body = {"email": email, "password": PASSWORD, "name": "Ada"}
    answer = ask(site.url, "/api/v1/auth/register", method="POST", body=body, context=site.ssl_context())
    assert answer.status == 201, answer.content
    return email


@pytest.fixture
def tab(browser, site):
    """Open a browser tab that accepts the edge's certificate."""
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


def answered(site, method, path):
    """Return the statuses in the service's access log so far, including those that no page was shown."""
    lines = [line for line in site.webs[0].lines() if line.get("event") == "request" and line["method"] == method]
    return [line["status"] for line in lines if line["path"] == f"/api/v1/{path}"]


@contextmanager
def expected(site, method, path, statuses):
    """Assert that the block makes the service answer with these statuses, and no others."""
    before = len(answered(site, method, path))
    yield
    if statuses:
        wait_until(lambda: len(answered(site, method, path)) > before, seconds=10, what=f"{method} {path}")
    assert answered(site, method, path)[before:] == statuses, (method, path)


def call(tab, site, method, path, *, body=None, headers=None, mode=None):
    return tab.evaluate(CALL, [f"{site.url}/api/v1/{path}", method, body, headers, mode])


def signed_in(tab, site, person):
    """Sign in from the page that is open; give the CSRF token."""
    body = {"email": person, "password": PASSWORD, "transport": "cookie"}
    answer = call(tab, site, "POST", "auth/login", body=body)
    assert answer.get("status") == 200, answer
    assert set(answer["body"]) == {"csrf_token", "token_type", "expires_in", "session"}
    return answer["body"]["csrf_token"]


def cookies(tab):
    return {cookie["name"]: cookie for cookie in tab.context.cookies()}


@pytest.mark.parametrize("origin", ["listed", "url"])
def test_a_front_end_signs_in_reads_writes_refreshes_reloads_and_leaves(tab, site, person, origin):
    where = getattr(site, origin) + ("/problems" if origin == "url" else "/")
    tab.goto(where)
    token = signed_in(tab, site, person)
    assert tab.evaluate("document.cookie") == ""
    kept = cookies(tab)
    assert set(kept) == {"__Host-access", "__Secure-refresh", "__Host-binding", "__Host-device"}
    assert all(one["httpOnly"] and one["secure"] and one["sameSite"] == "Lax" for one in kept.values())
    assert {one["path"] for one in kept.values()} == {"/", "/api/v1/auth/"}
    assert {one["domain"] for one in kept.values()} == {"localhost"}

    read = call(tab, site, "GET", "me")
    assert (read["status"], read["body"]["email"]) == (200, person)
    assert read["tag"]
    header = {"X-CSRFToken": token}
    assert call(tab, site, "PATCH", "me", body={"name": "No"})["body"]["type"].endswith("/problems/csrf-token")
    assert call(tab, site, "PATCH", "me", body={"name": "Countess"}, headers=header)["status"] == 200

    refreshed = call(tab, site, "POST", "auth/refresh")
    assert refreshed["status"] == 200
    assert refreshed["body"]["csrf_token"] == token
    assert cookies(tab)["__Secure-refresh"]["value"] != kept["__Secure-refresh"]["value"]

    tab.goto(where)  # a script's memory is gone
    again = call(tab, site, "GET", "auth/csrf")["body"]["csrf_token"]
    header = {"X-CSRFToken": again}
    assert call(tab, site, "PATCH", "me", body={"name": "Ada King"}, headers=header)["status"] == 200
    assert call(tab, site, "GET", "me")["body"]["name"] == "Ada King"

    # A quarter of an hour later the browser has dropped the access cookie.
    tab.context.clear_cookies(name="__Host-access")
    assert call(tab, site, "GET", "me")["status"] == 401
    assert call(tab, site, "POST", "auth/refresh")["status"] == 200
    assert call(tab, site, "GET", "me")["status"] == 200

    assert call(tab, site, "POST", "auth/logout", headers=header)["status"] == 204
    assert set(cookies(tab)) == {"__Host-device"}  # gives this browser a count of tries of its own, and nothing else
    assert call(tab, site, "GET", "me")["status"] == 401


FORMS = [
    ("auth/logout", "application/x-www-form-urlencoded", "a", "b"),
    ("auth/refresh", "text/plain", '{"x": "', '"}'),
    ("me", "text/plain", '{"name": "Mallory", "x": "', '"}'),
    ("sample/notes", "text/plain", '{"title": "Mallory", "x": "', '"}'),
]


def unharmed(tab, site, person, kept):
    """Assert that the session is unchanged: same cookies, same name, still active."""
    assert {name: one["value"] for name, one in cookies(tab).items()} == {
        name: one["value"] for name, one in kept.items()
    }
    tab.goto(site.listed)
    read = call(tab, site, "GET", "me")
    assert (read["status"], read["body"]["name"], read["body"]["email"]) == (200, "Ada", person)


@pytest.mark.parametrize(("stranger", "status"), [("foreign", 401), ("unlisted", 403)])
def test_forms_of_other_pages_are_refused(tab, site, person, stranger, status):
    """A form of another site comes without the cookies (401); one of a neighbour with them, and is refused as well (403)."""
    tab.goto(site.listed)
    signed_in(tab, site, person)
    kept = cookies(tab)
    for path, kind, name, value in FORMS:
        tab.goto(getattr(site, stranger))
        # A view without authentication reads the body first, and refuses that of a form.
        wanted = 415 if path == "auth/refresh" else status
        with expected(site, "POST", path, [wanted]), tab.expect_navigation():
            tab.evaluate(FORM, [f"{site.url}/api/v1/{path}", kind, name, value])
    unharmed(tab, site, person, kept)


def test_no_form_signs_anybody_in_as_somebody_else(tab, site, person):
    for stranger in ("foreign", "unlisted"):
        tab.goto(getattr(site, stranger))
        value = f'", "email": "{person}", "password": "{PASSWORD}", "transport": "cookie"}}'
        with expected(site, "POST", "auth/login", [415]), tab.expect_navigation():
            tab.evaluate(FORM, [f"{site.url}/api/v1/auth/login", "text/plain", '{"x": "', value])
        tab.goto(getattr(site, stranger))
        body = {"email": person, "password": PASSWORD, "transport": "cookie"}
        with expected(site, "POST", "auth/login", []):
            assert "error" in call(tab, site, "POST", "auth/login", body=body)
        assert cookies(tab) == {}


@pytest.mark.parametrize(("stranger", "is_same_site"), [("foreign", False), ("unlisted", True)])
def test_scripts_of_other_pages_read_and_change_nothing(tab, site, person, stranger, is_same_site):
    tab.goto(site.listed)
    token = signed_in(tab, site, person)
    kept = cookies(tab)
    tab.goto(getattr(site, stranger))
    # The answer to a read may arrive, and is kept from the script.
    for path in ("me", "auth/csrf"):
        with expected(site, "GET", path, [200 if is_same_site else 401]):
            assert "error" in call(tab, site, "GET", path)
    # What needs leave is not even sent: the preflight says no. Knowing the token does not help.
    for method, path, headers in (
        ("PATCH", "me", {"X-CSRFToken": token}),
        ("POST", "auth/logout", {"X-CSRFToken": token}),
        ("DELETE", "auth/sessions", {}),
    ):
        with expected(site, method, path, []):
            assert "error" in call(tab, site, method, path, body={"name": "Mallory"}, headers=headers)
    # What needs no leave is sent and refused.
    for path in ("auth/logout", "auth/refresh"):
        with expected(site, "POST", path, [403 if is_same_site else 401]):
            # Cross-Origin-Resource-Policy keeps even the opaque answer back.
            assert "error" in call(tab, site, "POST", path, mode="no-cors")
    unharmed(tab, site, person, kept)
