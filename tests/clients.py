"""HTTP clients of a fleet: they register, log in and refresh tokens, and open pages of the admin."""

from __future__ import annotations

import http.client
import secrets
import threading
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.fleet import Answer, ask
from tests.secrets import FLEET_PASSWORD

PASSWORD = FLEET_PASSWORD
AGENT = "tab"


def registered(url: str) -> dict[str, str]:
    """Register an account; return its credentials."""
    credentials = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    answer = ask(url, "/api/v1/auth/register", method="POST", body=credentials)
    assert answer.status == 201, answer.content
    return credentials


def signed_in(url: str, credentials: dict[str, str], *, agent: str = AGENT) -> dict[str, Any]:
    """Return the answer to a sign-in, with the tokens in its body."""
    headers = {"User-Agent": agent}
    answer = ask(url, "/api/v1/auth/login", method="POST", body=credentials, headers=headers)
    assert answer.status == 200, answer.content
    return dict(answer.json())


def refreshed(url: str, token: str, *, agent: str = AGENT) -> Answer:
    """Return the answer to a refresh token."""
    return ask(url, "/api/v1/auth/refresh", method="POST", body={"refresh": token}, headers={"User-Agent": agent})


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    """Return the Authorization header of a signed-in client."""
    return {"Authorization": f"Bearer {tokens['access']}"}


def problem(answer: Answer) -> str:
    """Return the slug of a problem's type; "" of another answer."""
    return str(answer.json().get("type", "")).rpartition("/")[2]


class Pages:
    """A browser on the admin of one instance, with the cookies that it was given.

    It asks for one page at a time, whichever thread it is used from: Django gives a browser that sets somebody's password
    another session, and requests with the former one come from nobody.
    """

    def __init__(self, url: str, *, cookies: dict[str, str] | None = None) -> None:
        self.url = url
        self.cookies = dict(cookies or {})
        self._lock = threading.Lock()

    @classmethod
    def signed_in(cls, url: str, credentials: dict[str, str]) -> Pages:
        """Sign in by the form."""
        pages = cls(url)
        pages.get("/admin/login/")
        form = {"username": credentials["email"], "password": credentials["password"], "next": "/admin/"}
        status = pages.post("/admin/login/", form)
        assert status == 302, f"the admin's login answered {status}"
        return pages

    def elsewhere(self, url: str) -> Pages:
        """Return the same browser, pointed at another instance."""
        return Pages(url, cookies=self.cookies)

    def get(self, path: str) -> int:
        """Return the status of a page: 302 redirects to the login."""
        return self._ask("GET", path, None, {})[0]

    def post(self, path: str, form: dict[str, Any]) -> int:
        """Return the status of a submitted form: 302 if it was accepted."""
        token = next((value for name, value in self.cookies.items() if "csrftoken" in name), "")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"https://localhost{path}"}
        status, location = self._ask("POST", path, urlencode(form, doseq=True), {**headers, "X-CSRFToken": token})
        assert not location.startswith("/admin/login/"), f"{path} came from nobody"
        return status

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, str]:
        """Return the status of an answer and where it redirects."""
        with self._lock:
            return self._asked(method, path, body, headers)

    def _asked(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "Cookie": cookie}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, body, {**sent, "Accept": "text/html", **headers})
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        for value in response.headers.get_all("Set-Cookie", []):
            self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(value).items()})
        return response.status, response.headers.get("Location", "")
