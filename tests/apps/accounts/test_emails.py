"""Verify and change addresses by mailed links, and require verified addresses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AccountLink, LinkPurpose, SecurityEvent, User
from apps.accounts.services.attempts import TooManyAttempts
from apps.accounts.services.credentials import PasswordWrong
from apps.accounts.services.emails import email_change_request
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.mails import KIND
from apps.accounts.services.users import user_password_set
from apps.jobs.models import Job
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, bearer, link, user_create
from tests.mails import mails_sent, text_of, token_in
from tests.problems import assert_problem
from tests.races import at_once

pytestmark = pytest.mark.django_db
NEW = "new@example.com"


def post(client: Client, path: str, body: Any = None, **extra: Any) -> Any:
    return client.post(f"/api/v1/auth/{path}", data=body, content_type="application/json", **extra)


def verify(client: Client, token: str) -> Any:
    return post(client, "email/verify", {"token": token})


def register(client: Client, email: str = "ada@example.com") -> Any:
    return post(client, "register", {"email": email, "password": PASSWORD, "name": "Ada"})


def login(client: Client, email: str) -> Any:
    return post(client, "login", {"email": email, "password": PASSWORD})


def stored(user: User) -> User:
    user.refresh_from_db()
    return user


# --- Verifying an address.


def test_registration_mails_a_verification_link(client: Client) -> None:
    assert register(client).status_code == 201
    user = User.objects.get()
    [message] = mails_sent()
    assert message["To"] == user.email
    said = " ".join([*map(str, message.values()), text_of(message), text_of(message, "html")])
    said = said.replace(token_in(message), "")  # which may contain these letters
    assert "Ada" not in said  # names are typed by strangers
    assert verify(client, token_in(message)).status_code == 204
    assert stored(user).email_verified
    assert_problem(verify(client, token_in(message)), 401, "link-refused")
    assert [event.kind for event in SecurityEvent.objects.order_by("created_at")] == ["registered", "email-verified"]


def test_new_link_replaces_the_former(client: Client) -> None:
    register(client)
    response = post(client, "email/verify/request", {"email": "ADA@example.com"})
    assert (response.status_code, response.content) == (202, b"")
    first, second = mails_sent()
    assert_problem(verify(client, token_in(first)), 401, "link-refused")
    assert verify(client, token_in(second)).status_code == 204
    post(client, "email/verify/request", {"email": "ada@example.com"})
    assert len(mails_sent()) == 2  # the address is already verified


@pytest.mark.parametrize("case", ["late", "reset", "other address", "deactivated"])
def test_invalid_links_are_refused(client: Client, case: str) -> None:
    user = user_create()
    tokens = {
        "late": lambda: link(user, LinkPurpose.VERIFY_EMAIL, now=timezone.now() - timedelta(minutes=61)),
        "reset": lambda: link(user, LinkPurpose.RESET_PASSWORD),
        "other address": lambda: link(user, LinkPurpose.VERIFY_EMAIL, email="former@example.com"),
        "deactivated": lambda: link(user, LinkPurpose.VERIFY_EMAIL),
    }
    token = tokens[case]()
    if case == "deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)
    assert_problem(verify(client, token), 401, "link-refused")
    assert not stored(user).email_verified


def test_verifying_keeps_other_kinds_of_links(client: Client) -> None:
    user = user_create()
    link(user, LinkPurpose.RESET_PASSWORD)
    assert verify(client, link(user, LinkPurpose.VERIFY_EMAIL)).status_code == 204
    assert [one.purpose for one in AccountLink.objects.all()] == [LinkPurpose.RESET_PASSWORD]


# --- Changing it.


def request_change(user: User, email: str = NEW, password: str = PASSWORD) -> None:
    email_change_request(user_id=user.pk, email=email, current_password=password, origin=NOWHERE, now=timezone.now())


def test_address_changes_when_its_link_is_followed(client: Client) -> None:
    user = user_create()
    former = user.email
    link(user, LinkPurpose.RESET_PASSWORD)
    request_change(user, "NEW@example.com")
    [message] = mails_sent()
    assert message["To"] == NEW
    assert stored(user).email == former
    assert verify(client, token_in(message)).status_code == 204
    assert (stored(user).email, user.email_verified) == (NEW, True)
    assert not AccountLink.objects.exists()  # the link to the old address is deleted
    notice = mails_sent()[1]
    assert notice["To"] == former
    assert NEW not in str(notice)
    assert login(client, NEW).status_code == 200
    assert login(client, former).status_code == 401
    assert SecurityEvent.objects.filter(user=user, kind="email-changed").count() == 1


def test_address_change_needs_the_password(client: Client) -> None:
    with pytest.raises(PasswordWrong):
        request_change(user_create(), password="not the one at all")
    assert not Job.objects.filter(kind=KIND).exists()


@pytest.mark.usefixtures("clock")
def test_change_mails_to_an_address_are_limited(settings: Any) -> None:
    settings.TOKENS_ATTEMPTS = 2
    asking = [user_create() for _ in range(3)]
    for user in asking[:2]:
        request_change(user)
    with pytest.raises(TooManyAttempts):
        request_change(asking[2])
    assert [message["To"] for message in mails_sent()] == [NEW, NEW]


@pytest.mark.parametrize("what", ["password", "address"])
def test_late_mail_does_not_revive_an_old_change(client: Client, what: str) -> None:
    """An attacker can delay the mail: their server replies "later" until the owner has changed the password."""
    user = user_create()
    request_change(user, "thief@example.com")
    if what == "password":
        user_password_set(user=user, password="another of the same kind 7", now=timezone.now())
    else:
        token = link(user, LinkPurpose.CHANGE_EMAIL, email=NEW)
        assert verify(client, token).status_code == 204
    assert "thief@example.com" not in [message["To"] for message in mails_sent()]
    assert not AccountLink.objects.exists()
    request_change(stored(user), "thief@example.com", "another of the same kind 7" if what == "password" else PASSWORD)
    assert mails_sent()[-1]["To"] == "thief@example.com"


def test_address_taken_before_the_link_is_used_is_409(client: Client) -> None:
    user = user_create()
    request_change(user)
    [message] = mails_sent()
    user_create(email=NEW)
    assert_problem(verify(client, token_in(message)), 409, "email-taken")
    assert stored(user).email != NEW
    assert not SecurityEvent.objects.filter(kind="email-changed").exists()


@pytest.mark.django_db(transaction=True)
def test_one_of_two_parallel_changes_gets_the_address() -> None:
    users = [user_create(), user_create()]
    tokens = [link(user, LinkPurpose.CHANGE_EMAIL, email=NEW) for user in users]
    answers = at_once(2, lambda number: verify(Client(), tokens[number]))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert User.objects.filter(email=NEW).count() == 1


def test_admin_change_mails_the_old_address(settings: Any) -> None:
    settings.ZEAL_ALLOWLIST = [{"model": model, "field": "get()"} for model in ("accounts.User", "sessions.Session")]
    user, admin_browser = user_create(), Client()
    admin_sign_in(admin_browser, user_create(is_staff=True, is_superuser=True))
    page = f"/admin/accounts/user/{user.pk}/change/"
    link(user, LinkPurpose.CHANGE_EMAIL, email="thief@example.com")
    assert admin_browser.post(page, {"email": user.email, "name": "Ada", "is_active": "on"}).status_code == 302
    assert AccountLink.objects.exists()
    assert admin_browser.post(page, {"email": NEW, "name": "Ada", "is_active": "on"}).status_code == 302
    assert not AccountLink.objects.exists()
    assert [message["To"] for message in mails_sent()] == [user.email]
    assert SecurityEvent.objects.get(user=user, kind="email-changed").detail == {"by": "administrator"}


# --- REQUIRE_VERIFIED_EMAIL.


@pytest.fixture
def required(settings: Any) -> None:
    settings.REQUIRE_VERIFIED_EMAIL = True


@pytest.mark.usefixtures("required")
def test_registration_does_not_reveal_taken_addresses(client: Client) -> None:
    owner = user_create(email_verified=True)
    answers = {
        (one.status_code, one.content, frozenset(one.headers))
        for one in (register(client), register(client, owner.email))
    }
    assert len(answers) == 1
    assert {status for status, *_ in answers} == {202}
    to_new, to_owner = mails_sent()
    assert (to_new["To"], to_owner["To"]) == ("ada@example.com", owner.email)
    assert "You already have a" in to_owner["Subject"]
    assert stored(owner).check_password(PASSWORD)
    assert owner.name == ""


@pytest.mark.usefixtures("required")
def test_unverified_address_cannot_sign_in(client: Client) -> None:
    register(client)
    assert_problem(login(client, "ada@example.com"), 403, "email-unverified")
    wrong = post(client, "login", {"email": "ada@example.com", "password": "a wrong one of course"})
    assert_problem(wrong, 401, "credentials-refused")  # only someone who knows the password learns this
    at_first, again = mails_sent()
    assert_problem(verify(client, token_in(at_first)), 401, "link-refused")
    assert verify(client, token_in(again)).status_code == 204
    assert login(client, "ada@example.com").status_code == 200


@pytest.mark.usefixtures("required", "clock")
def test_login_mails_a_limited_number_of_links(client: Client, settings: Any) -> None:
    settings.TOKENS_ATTEMPTS = 3
    user = user_create()
    for _ in range(6):
        assert_problem(login(client, user.email), 403, "email-unverified")
    assert len(mails_sent()) == 3


def test_unverified_address_can_sign_in_by_default(client: Client) -> None:
    register(client)
    assert login(client, "ada@example.com").status_code == 200
    assert_problem(register(client), 409, "email-taken", pointer="/email")
    assert client.get("/api/v1/me", **bearer(User.objects.get())).json()["email_verified"] is False
