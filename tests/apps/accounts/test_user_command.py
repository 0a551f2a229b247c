"""`manage.py user`."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AttemptCount, SecurityEvent, Session
from apps.accounts.services.attempts import AttemptPurpose, attempt_begin
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, bearer, user_create
from tests.problems import assert_problem
from tests.processes import manage_away
from tests.secrets import NEW_PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
ADA = "ada@example.com"


def user(*arguments: str) -> str:
    out = StringIO()
    call_command("user", *arguments, stdout=out)
    return out.getvalue()


def login(client: Client, password: str = PASSWORD) -> Any:
    body = {"email": ADA, "password": password}
    return client.post("/api/v1/auth/login", body, content_type="application/json")


@pytest.mark.usefixtures("clock")
def test_unlock_clears_the_count_and_is_recorded(client: Client) -> None:
    account = user_create(email=ADA)
    for _ in range(10):
        attempt_begin(purpose=AttemptPurpose.SIGN_IN, email=ADA)
    attempt_begin(purpose=AttemptPurpose.SIGN_IN, email="other@example.com")
    assert_problem(login(client), 429, "too-many-attempts")
    said = user("unlock", "Ada@Example.com")
    assert said.startswith(f"{ADA}: cleared the failed attempts since {timezone.now():%Y-}"), said
    assert said.rstrip().endswith("UTC: 10.")
    assert login(client).status_code == 200
    event = SecurityEvent.objects.get(kind="unlocked")
    assert (event.user, event.detail) == (account, {"failures": 10})
    assert AttemptCount.objects.count() == 1  # of the other address


def test_unlock_reports_no_attempts() -> None:
    user_create(email=ADA)
    assert user("unlock", ADA) == f"{ADA}: there were no failed attempts.\n"


def test_end_sessions_ends_api_and_admin_sessions(client: Client) -> None:
    account, other = user_create(email=ADA, is_staff=True), user_create()
    header, kept, browser = bearer(account), bearer(other), Client()
    admin_sign_in(browser, account)
    assert user("end-sessions", ADA) == f"{ADA}: sessions ended: 2, everywhere within 1 s.\n"
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert browser.get("/admin/").status_code == 302
    assert client.get("/api/v1/me", **kept).status_code == 200
    assert set(Session.objects.filter(user=account).values_list("ended_reason", flat=True)) == {"admin"}
    assert SecurityEvent.objects.get(kind="sessions-ended").detail == {"reason": "admin", "count": 2}
    assert user("end-sessions", ADA).startswith(f"{ADA}: sessions ended: 0")
    assert login(client).status_code == 200


def test_changepassword_ends_sessions_and_links(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    account = user_create(email=ADA)
    header = bearer(account)
    for _ in range(10):
        attempt_begin(purpose=AttemptPurpose.SIGN_IN, email=ADA)
    monkeypatch.setattr("getpass.getpass", lambda prompt="": NEW_PASSWORD)
    call_command("changepassword", "Ada@Example.com", stdout=StringIO())
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert SecurityEvent.objects.get(kind="password-changed").detail == {"by": "command"}
    assert login(client, NEW_PASSWORD).status_code == 200
    with pytest.raises(CommandError, match="does not exist"):
        call_command("changepassword", "nobody@example.com", stdout=StringIO())


@pytest.mark.parametrize("action", ["unlock", "end-sessions"])
def test_unknown_address_is_an_error(action: str) -> None:
    with pytest.raises(CommandError, match=r"No account has the address nobody@example\.com\."):
        user(action, "nobody@example.com")
    assert not SecurityEvent.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [(["--help"], "end-sessions"), (["unlock", "--help"], "15 minutes"), (["end-sessions", "--help"], "active")],
)
def test_help_needs_no_servers(arguments: list[str], taught: str) -> None:
    ran = manage_away("user", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert taught in ran.stdout


def test_missing_database_is_reported() -> None:
    ran = manage_away("user", "unlock", ADA)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Cannot use PostgreSQL at "), ran.stderr


@pytest.mark.parametrize("arguments", [[], ["unlock"], ["forget", ADA]])
def test_invalid_arguments_are_refused(arguments: list[str]) -> None:
    ran = manage_away("user", *arguments)
    assert ran.returncode == 2
    assert "usage:" in ran.stderr
