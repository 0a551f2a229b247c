"""Change and reset passwords, and validate them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AccountLink, AttemptCount, EndReason, LinkPurpose, SecurityEvent, Session
from apps.accounts.services.mails import KIND
from apps.accounts.validators import CommonPasswordValidator
from apps.jobs.models import Job
from tests.apps.accounts.cookies import held
from tests.apps.accounts.factories import PASSWORD, bearer, link, sign_in, user_create
from tests.mails import mails_sent, token_in
from tests.problems import assert_problem
from tests.races import at_once
from tests.secrets import NEW_PASSWORD

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def post(client: Client, path: str, body: Any = None, **extra: Any) -> Any:
    return client.post(f"/api/v1/auth/{path}", data=body, content_type="application/json", **extra)


def login(client: Client, email: str, password: str) -> Any:
    return post(client, "login", {"email": email, "password": password})


def change(client: Client, current: str = PASSWORD, new: str = NEW_PASSWORD, **extra: Any) -> Any:
    return post(client, "password/change", {"current_password": current, "new_password": new}, **extra)


def confirm(client: Client, token: str, new: str = NEW_PASSWORD) -> Any:
    return post(client, "password/reset/confirm", {"token": token, "new_password": new})


def kinds(user: Any) -> list[str]:
    return [event.kind for event in SecurityEvent.objects.filter(user=user).order_by("created_at", "id")]


# --- Changing a password.


@committed
def test_change_ends_all_sessions_and_starts_one(client: Client) -> None:
    user = user_create()
    elsewhere, here = sign_in(user, device="elsewhere"), bearer(user)
    link(user, LinkPurpose.CHANGE_EMAIL, email="thief@example.com")
    response = change(client, **here)
    assert response.status_code == 200, response.content
    assert response.headers["Cache-Control"] == "no-store"
    for header in (here, {"HTTP_AUTHORIZATION": f"Bearer {elsewhere.access}"}):
        assert client.get("/api/v1/me", **header).status_code == 401
    assert post(client, "refresh", {"refresh": elsewhere.refresh}).status_code == 401
    fresh = response.json()
    assert client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {fresh['access']}").status_code == 200
    assert post(client, "refresh", {"refresh": fresh["refresh"]}).status_code == 200
    ended = Session.objects.exclude(pk=fresh["session"])
    assert {session.ended_reason for session in ended} == {EndReason.PASSWORD}
    assert not AccountLink.objects.exists()
    assert login(client, user.email, PASSWORD).status_code == 401
    assert login(client, user.email, NEW_PASSWORD).status_code == 200
    [message] = mails_sent()
    assert (message["To"], "password" in message["Subject"]) == (user.email, True)
    event = SecurityEvent.objects.get(kind="password-changed")
    assert (event.user_id, event.device, event.detail) == (user.pk, "tests/1", {"by": "password"})


def test_change_in_cookie_mode_sets_cookies(client: Client, settings: Any) -> None:
    user = user_create()
    headers = {"HTTP_ORIGIN": settings.PUBLIC_URL}
    body = {"email": user.email, "password": PASSWORD, "transport": "cookie"}
    csrf = post(client, "login", body, **headers).json()["csrf_token"]
    before = held(client)
    assert_problem(change(client), 403, "csrf-token")
    response = change(client, HTTP_X_CSRFTOKEN=csrf)
    assert response.status_code == 200, response.content
    assert set(response.json()) == {"csrf_token", "token_type", "expires_in", "session"}
    after = held(client)
    assert before.keys() == after.keys() == {"access", "refresh", "binding"}
    assert not set(before.values()) & set(after.values())
    assert client.get("/api/v1/me").status_code == 200


def test_change_needs_the_current_password(client: Client) -> None:
    user = user_create()
    here = bearer(user)
    assert_problem(
        change(client, current="not the one at all", **here), 403, "password-wrong", pointer="/current_password"
    )
    assert client.get("/api/v1/me", **here).status_code == 200
    assert not Job.objects.exists()
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_too_short"),
        ("x" * 129, "max_length"),
        ("941375082693", "password_entirely_numeric"),
        ("Password2024!", "password_too_common"),
        ("grace.hopper@example.com", "password_too_similar"),
        ("Grace Brewster Murray", "password_too_similar"),
    ],
)
def test_unacceptable_passwords_are_refused(client: Client, password: str, code: str) -> None:
    user = user_create(email="grace.hopper@example.com", name="Grace Brewster Murray")
    token = link(user, LinkPurpose.RESET_PASSWORD)
    for response in (change(client, new=password, **bearer(user)), confirm(client, token, password)):
        problem = assert_problem(response, 400, "validation", pointer="/new_password")
        assert code in [error["code"] for error in problem["errors"]]
    assert confirm(client, token).status_code == 204  # the link was not used up


def test_password_changed_during_the_check_is_401(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the password changes between the check and the write, the request fails and changes nothing."""
    from apps.accounts.services import passwords
    from apps.accounts.services.users import user_password_set

    user = user_create()
    here = bearer(user)
    plain = passwords.make_password

    def change_during_hash(password: str) -> str:
        user_password_set(user=user, password="set by an administrator", now=timezone.now())
        return plain(password)

    monkeypatch.setattr(passwords, "make_password", change_during_hash)
    assert_problem(change(client, **here), 401, "account-changed")
    user.refresh_from_db()
    assert user.check_password("set by an administrator")


# --- Resetting a password.


@committed
def test_reset_with_a_mailed_link(client: Client) -> None:
    user = user_create()
    elsewhere = sign_in(user)
    response = post(client, "password/reset", {"email": user.email.upper()})
    assert (response.status_code, response.content) == (202, b"")
    [message] = mails_sent()
    token = token_in(message)
    assert confirm(client, token).status_code == 204
    assert_problem(confirm(client, token), 401, "link-refused")
    assert client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {elsewhere.access}").status_code == 401
    assert post(client, "refresh", {"refresh": elsewhere.refresh}).status_code == 401
    assert login(client, user.email, PASSWORD).status_code == 401
    assert login(client, user.email, NEW_PASSWORD).status_code == 200
    user.refresh_from_db()
    assert user.email_verified
    assert {"email-verified", "password-changed", "sessions-ended"} <= set(kinds(user))
    assert [message["Subject"] for message in mails_sent()][1:] == ["Your Shipshape password was changed"]


@pytest.mark.usefixtures("clock")
def test_reset_clears_failed_attempts(client: Client, settings: Any) -> None:
    settings.TOKENS_ATTEMPTS = 2
    user = user_create()
    for _ in range(2):
        login(client, user.email, "a wrong one of course")
    assert_problem(login(client, user.email, PASSWORD), 429, "too-many-attempts")
    assert confirm(client, link(user, LinkPurpose.RESET_PASSWORD)).status_code == 204
    assert not AttemptCount.objects.exists()
    assert login(client, user.email, NEW_PASSWORD).status_code == 200


def test_account_without_password_gets_one_by_mail(client: Client) -> None:
    user = user_create()
    user.set_unusable_password()
    user.save()
    post(client, "password/reset", {"email": user.email})
    [message] = mails_sent()
    assert confirm(client, token_in(message)).status_code == 204
    assert login(client, user.email, NEW_PASSWORD).status_code == 200


def refused_links() -> dict[str, Callable[[Any], str]]:
    def late(user: Any) -> str:
        return link(user, LinkPurpose.RESET_PASSWORD, now=timezone.now() - timedelta(minutes=61))

    def another_purpose(user: Any) -> str:
        return link(user, LinkPurpose.VERIFY_EMAIL)

    def another_address(user: Any) -> str:
        return link(user, LinkPurpose.RESET_PASSWORD, email="former@example.com")

    def deactivated(user: Any) -> str:
        token = link(user, LinkPurpose.RESET_PASSWORD)
        type(user).objects.filter(pk=user.pk).update(is_active=False)
        return token

    def changed(user: Any) -> str:
        from apps.accounts.services.users import user_password_set

        token = link(user, LinkPurpose.RESET_PASSWORD)
        user_password_set(user=user, password=PASSWORD, now=timezone.now())
        return token

    def digest(user: Any) -> str:
        link(user, LinkPurpose.RESET_PASSWORD)
        return bytes(AccountLink.objects.get().digest).hex()

    return {
        "made up": lambda _: "A" * 43,
        "not ASCII": lambda _: "ключ",
        "its hash": digest,
        "an hour old": late,
        "to verify": another_purpose,
        "to another address": another_address,
        "of a deactivated account": deactivated,
        "from before a change": changed,
    }


@pytest.mark.parametrize("name", refused_links())
def test_invalid_reset_links_are_refused(client: Client, name: str) -> None:
    user = user_create()
    token = refused_links()[name](user)
    assert_problem(confirm(client, token), 401, "link-refused")
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@committed
def test_one_of_many_parallel_resets_succeeds(settings: Any) -> None:
    settings.TOKENS_HASHES_AT_ONCE = 8
    user = user_create()
    token = link(user, LinkPurpose.RESET_PASSWORD)
    answers = at_once(6, lambda number: confirm(Client(), token, f"{NEW_PASSWORD} {number}"))
    assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401, 401, 401]
    assert SecurityEvent.objects.filter(kind="password-changed").count() == 1


@pytest.mark.parametrize(
    "password",
    [
        "qwerty123456",
        "Password2024!",
        "P@ssw0rd2024!",
        "1990 football 1990",
        "monkeymonkey",
        "$unsh1ne$unsh1ne!",
        "aaaaaaaaaaaa",
        "xyzxyzxyzxyz!",
        "Bits&Bobs2024",
        "bits & bobs!",
        " " * 12,
        "startfinding  ",
    ],
)
def test_variants_of_common_passwords_are_refused(password: str, settings: Any) -> None:
    settings.SITE_NAME = "Bits & Bobs"
    with pytest.raises(ValidationError, match="too common, or too similar to a common one") as refused:
        CommonPasswordValidator().validate(password)
    assert refused.value.code == "password_too_common"


@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "monkey football dragon", "k7#9vQ!2mZ@41", "a3!7$9(2)5&8"]
)
def test_passphrases_and_random_passwords_are_accepted(password: str) -> None:
    CommonPasswordValidator().validate(password)
    validate_password(password)


# --- No information for strangers.


def test_reset_does_not_reveal_accounts(client: Client, soak: bool, settings: Any) -> None:
    """The same bytes, the same work (one job row each), and medians of interleaved pairs within 10 % or 5 ms.

    80 pairs, and 200 with ``--soak``. A real difference is there each time, what other load adds is not.
    """
    several = 200 if soak else 80
    settings.TOKENS_ATTEMPTS = 1000
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "login": (10_000, 1), "anon": (10_000, 1)}
    known, unknown = user_create().email, "nobody@example.com"
    answers: set[Any] = set()
    pairs, alike = 0, False
    while not alike and pairs < 3 * several:
        times: dict[str, list[float]] = {known: [], unknown: []}
        for _ in range(several):
            for email in (known, unknown):
                started = time.perf_counter()
                response = post(client, "password/reset", {"email": email})
                times[email].append(time.perf_counter() - started)
                answers.add((response.status_code, response.content, frozenset(response.headers.keys())))
        pairs += several
        a, b = (statistics.median(found) for found in times.values())
        alike = abs(a - b) < max(0.005, 0.1 * max(a, b))
    assert alike, (a, b)
    assert len(answers) == 1, answers
    assert Job.objects.filter(kind=KIND).count() == 2 * pairs
    assert [message["To"] for message in mails_sent()] == [known] * pairs


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("path", ["password/reset", "email/verify/request"])
def test_reset_mails_are_limited_for_every_address(client: Client, settings: Any, path: str) -> None:
    settings.TOKENS_ATTEMPTS = 3
    for email in (user_create().email, "nobody@example.com"):
        assert [post(client, path, {"email": email}).status_code for _ in range(4)] == [202, 202, 202, 429]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("password/reset", {"email": "no address"}),
        ("password/reset", {"email": "a@example.com", "x": 1}),
        ("password/reset/confirm", {"token": "x" * 201, "new_password": NEW_PASSWORD}),
        ("password/reset/confirm", {"token": "\ud800", "new_password": NEW_PASSWORD}),
        ("password/reset/confirm", {"token": ["x"], "new_password": NEW_PASSWORD}),
        ("email/verify", {"token": "a\x00b"}),
        ("email/verify", {"token": ""}),
        ("email/verify", []),
    ],
)
def test_malformed_bodies_are_400(client: Client, path: str, body: Any) -> None:
    assert_problem(post(client, path, body), 400)
