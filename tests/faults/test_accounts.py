"""Guesses at one account from many addresses without Redis: few hashes, and the owner is not affected. Excess is 503."""

from __future__ import annotations

import http.client
import itertools
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.faults.submitters import WIDE
from tests.fleet import Answer, ask, fleet_on
from tests.mails import mails_in, text_of, token_in
from tests.processes import wait_until
from tests.secrets import FLEET_NEW_PASSWORD, FLEET_PASSWORD
from tools.fleet import Fleet
from tools.stack import Stack

# The attackers have enough addresses (WIDE), so only the account's own count limits them.
ADDRESSES = [f"198.51.100.{number}" for number in range(1, 101)]
THREADS = 20
FREE = 10  # attempts before the first refusal
LOGIN = "/api/v1/auth/login"
PASSWORD, NEW = FLEET_PASSWORD, FLEET_NEW_PASSWORD


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mails")


@pytest.fixture(scope="module")
def fleet(own_stack: Stack, mails: Path) -> Iterator[Fleet]:
    """Start two instances, addressed directly as by their edge, and a worker that writes mails to files."""
    with fleet_on(
        own_stack.state.urls, worker=True, EMAIL_URL=f"filemail://{mails}", WEB_THREADS="16", **WIDE
    ) as fleet:
        yield fleet


def post(fleet: Fleet, path: str, body: Any, *, number: int = 0, address: str = "203.0.113.9") -> Answer:
    """Send requests to the instances in turn, as a client with this address."""
    url = fleet.webs[number % len(fleet.webs)].url
    return ask(url, path, method="POST", body=body, headers={"X-Forwarded-For": address})


def login(fleet: Fleet, email: str, password: str) -> Answer:
    return post(fleet, LOGIN, {"email": email, "password": password})


class AdminLogin:
    """Send the admin's login form, as a browser does."""

    def __init__(self, url: str) -> None:
        self.url = url
        page = ask(url, "/admin/login/", headers={"Accept": "text/html"})
        self.cookie = page.headers["set-cookie"].partition(";")[0]
        found = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page.content)
        assert found is not None
        self.token = found[1].decode()

    def post(self, email: str, password: str, *, address: str = "203.0.113.9") -> Answer:
        form = {"username": email, "password": password, "csrfmiddlewaretoken": self.token, "next": "/admin/"}
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        headers = {
            "Host": "localhost",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": address,
            "Origin": "https://localhost",
            "Cookie": self.cookie,
            "Accept": "text/html",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        began = time.monotonic()
        try:
            connection.request("POST", "/admin/login/", urlencode(form), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(status=answer.status, headers=found, content=content, seconds=time.monotonic() - began)


class Guessing:
    """Send wrong passwords for one account from ADDRESSES to both instances and both logins, as fast as possible."""

    def __init__(self, fleet: Fleet, email: str) -> None:
        self.answers: list[Answer] = []
        self.by_form: list[Answer] = []
        self._fleet, self._email = fleet, email
        self._numbers = itertools.count()
        self._logins = [AdminLogin(web.url) for web in fleet.webs]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(THREADS)]

    def __enter__(self) -> Guessing:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            guess, address = f"guess number {number}", ADDRESSES[number % len(ADDRESSES)]
            if number % 5 == 0:
                admin_login = self._logins[number % len(self._logins)]
                self.by_form.append(admin_login.post(self._email, guess, address=address))
                continue
            body = {"email": self._email, "password": guess}
            self.answers.append(post(self._fleet, LOGIN, body, number=number, address=address))


@dataclass
class Owner:
    """A user who is signed in and keeps working."""

    fleet: Fleet
    email: str
    access: str
    seen: list[Answer]
    stop: threading.Event

    def work(self) -> None:
        headers = {"Authorization": f"Bearer {self.access}"}
        for web in itertools.cycle(self.fleet.webs):
            if self.stop.wait(0.1):
                return
            self.seen.append(ask(web.url, "/api/v1/me", headers=headers))


def failures(own_stack: Stack, email: str) -> int:
    """Return how many wrong passwords were hashed: each one is a row."""
    query = """
        SELECT count(*) FROM accounts_securityevent e JOIN accounts_user u ON u.id = e.user_id
        WHERE e.kind = 'sign-in-failed' AND u.email = %s
    """
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"]) as connection:
        row = connection.execute(query, [email]).fetchone()
    assert row is not None
    return int(row[0])


def allowed(seconds: float) -> int:
    """Return how many attempts pass in this time: the free ones, then one after 1, 1 + 2, 1 + 2 + 4, … seconds."""
    return FREE + int(math.log2(seconds + 1))


def registered(fleet: Fleet, email: str) -> str:
    """Register an account; return its access token."""
    body = {"email": email, "password": PASSWORD}
    assert post(fleet, "/api/v1/auth/register", body).status == 201
    return str(login(fleet, email, PASSWORD).json()["access"])


def test_guesses_from_many_addresses_without_redis(
    fleet: Fleet, own_stack: Stack, mails: Path, soak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    email, seconds = "owner@example.com", 60 if soak else 8
    owner = Owner(fleet=fleet, email=email, access=registered(fleet, email), seen=[], stop=threading.Event())
    assert post(fleet, "/api/v1/auth/password/reset", {"email": email}).status == 202
    wait_until(lambda: reset_tokens(mails), seconds=20, what="the mail")
    token = reset_tokens(mails)[0]

    own_stack.servers["redis"].stop()
    try:
        working = threading.Thread(target=owner.work, daemon=True)
        working.start()
        began = time.monotonic()
        with Guessing(fleet, email) as guessing:
            time.sleep(seconds)
        lasted = time.monotonic() - began
        computed = failures(own_stack, email)
        assert_refused(guessing, computed=computed, lasted=lasted)

        began = time.monotonic()
        again = patient(fleet, LOGIN, {"email": email, "password": PASSWORD})
        waited = time.monotonic() - began
        assert again.status == 200, again.content

        with Guessing(fleet, email) as more:
            wait_until(lambda: any(answer.status == 429 for answer in more.answers), seconds=20, what="a refusal")
            owner.stop.set()  # a new password ends this session too
            working.join(30)
            body = {"token": token, "new_password": NEW}
            by_link = patient(fleet, "/api/v1/auth/password/reset/confirm", body)
        assert by_link.status == 204, by_link.content
        assert len(owner.seen) > seconds
        others = Counter(answer.status for answer in owner.seen if answer.status != 200)
        # Allow one 503 where nothing is measured: the machine may pause for longer than a request waits for its connection.
        assert others <= Counter({503: 0 if soak else 1}), others
        assert patient(fleet, LOGIN, {"email": email, "password": NEW}).status == 200
    finally:
        owner.stop.set()
        own_stack.servers["redis"].start()
    with capsys.disabled():
        slowest = max(answer.seconds for answer in owner.seen)
        guesses = len(guessing.answers) + len(guessing.by_form)
        print(
            f"\n{guesses} guesses in {lasted:.0f} s, {computed} hashes (at most {allowed(lasted)}); the owner, signed in: "
            f"{len(owner.seen)} requests, slowest {slowest:.2f} s; signed in again after {waited:.0f} s"
        )


def assert_refused(guessing: Guessing, *, computed: int, lasted: float) -> None:
    """Assert that few guesses were checked and all others refused in the same way. A form shown again is a wrong password."""
    statuses, forms = (Counter(one.status for one in answers) for answers in (guessing.answers, guessing.by_form))
    assert set(statuses) <= {401, 429, 503}, statuses
    assert set(forms) <= {200, 429, 503}, forms
    assert FREE <= computed <= allowed(lasted), f"{computed} hashes in {lasted:.1f} s"
    assert statuses[401] + forms[200] == computed
    assert statuses[429] + forms[429] > 10 * computed, (statuses, forms)
    assert forms[429] > 0
    refused = [answer for answer in guessing.answers if answer.status == 429]
    assert {answer.json()["type"].rpartition("/")[2] for answer in refused} == {"too-many-attempts"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 2 * (lasted + 1) for answer in refused)


def patient(fleet: Fleet, path: str, body: Any) -> Answer:
    """Send a request up to three times, waiting as Retry-After says."""
    for _ in range(3):
        answer = post(fleet, path, body)
        if answer.status not in (429, 503):
            break
        time.sleep(int(answer.headers["retry-after"]))
    return answer


def reset_tokens(mails: Path) -> list[str]:
    """Return the tokens of the password reset links that were mailed."""
    return [token_in(message) for message in mails_in(mails) if "/reset-password#" in text_of(message)]


def test_excess_password_checks_are_refused_at_once(fleet: Fleet) -> None:
    admin_login, url = AdminLogin(fleet.webs[0].url), fleet.webs[0].url
    seen: list[tuple[str, Answer]] = []

    def api(number: int) -> None:
        body = {"email": f"nobody{number}@example.com", "password": "not what it should be"}
        answer = ask(url, LOGIN, method="POST", body=body)
        seen.append(("api", answer))

    def admin(number: int) -> None:
        answer = admin_login.post(f"nobody{number}@example.com", "not what it should be")
        seen.append(("admin", answer))

    with ThreadPoolExecutor(16) as pool:
        for number in range(120):
            pool.submit(admin if number % 2 else api, number)
    assert len(seen) == 120
    # On a busy machine a body may arrive so long after its head that it is refused as one of too many slow ones.
    seen = [(kind, answer) for kind, answer in seen if b"Too many slow uploads" not in answer.content]
    for kind, good in (("api", 401), ("admin", 200)):
        answers = [answer for where, answer in seen if where == kind]
        assert {answer.status for answer in answers} == {good, 503}, (kind, Counter(one.status for one in answers))
        assert {answer.headers.get("retry-after") for answer in answers if answer.status == 503} == {"1"}


def test_refusals_apply_to_the_admin_login(fleet: Fleet, own_stack: Stack) -> None:
    email = "locked@example.com"
    registered(fleet, email)
    admin_login = AdminLogin(fleet.webs[1].url)
    for number in range(FREE):
        assert post(fleet, LOGIN, {"email": email, "password": f"guess number {number}"}).status == 401
    longer = "UPDATE accounts_attemptcount SET refused_until = refused_until + interval '1 minute'"
    with psycopg.connect(own_stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(longer)  # longer than the first refusal, of one second
    answer = admin_login.post(email, PASSWORD)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (429, "text/html")
    assert int(answer.headers["retry-after"]) >= 1
