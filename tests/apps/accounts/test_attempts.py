"""Guessing at one account: ten attempts, then refusals that double, before any hash is computed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, override_settings
from django.utils import timezone
from structlog.testing import capture_logs

from apps.accounts.hashers import NormalisedArgon2Hasher, hashing_slot
from apps.accounts.models import AttemptCount, SecurityEvent, User
from apps.accounts.services.attempts import (
    AttemptPurpose,
    TooManyAttempts,
    attempt_begin,
    attempt_cancel,
    attempt_succeeded,
    attempts_clear,
)
from apps.accounts.services.credentials import (
    CredentialsRefused,
    PasswordWrong,
    password_confirm,
    user_authenticate,
)
from apps.accounts.services.emails import email_verification_request
from apps.accounts.services.events import NOWHERE
from apps.accounts.services.passwords import password_reset_request
from apps.accounts.services.users import EmailTaken, user_register
from tests.apps.accounts.factories import PASSWORD, bearer, sign_in, user_create
from tests.mails import mails_sent
from tests.problems import assert_problem
from tests.races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
committed = pytest.mark.django_db(transaction=True)  # other connections see it

ADA = "ada@example.com"
WRONG = "not what it should be"


def tried(*, email: str = ADA, password: str = WRONG) -> User:
    return user_authenticate(email=email, password=password, origin=NOWHERE, now=timezone.now())


def begin(purpose: AttemptPurpose = AttemptPurpose.SIGN_IN, email: str = ADA) -> Any:
    return attempt_begin(purpose=purpose, email=email)


def refused_for(purpose: AttemptPurpose = AttemptPurpose.SIGN_IN) -> int:
    with pytest.raises(TooManyAttempts) as refusal:
        begin(purpose)
    assert refusal.value.retry_after is not None
    return refusal.value.retry_after


def elapse(seconds: float) -> None:
    """Move the counts into the past, as if this much time had passed on the database's stopped clock."""
    passed = timedelta(seconds=seconds)
    AttemptCount.objects.update(
        counted_since=F("counted_since") - passed,
        refused_until=F("refused_until") - passed,
        expires_at=F("expires_at") - passed,
    )


def login(client: Client, email: str = ADA, password: str = WRONG) -> Any:
    body = {"email": email, "password": password}
    return client.post("/api/v1/auth/login", body, content_type="application/json")


def test_refusals_double_after_ten_attempts() -> None:
    for number in range(1, 11):
        assert begin().number == number
    seconds = []
    for _ in range(14):
        seconds.append(refused_for())
        elapse(seconds[-1])
        begin()
    assert seconds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


def test_one_free_attempt_is_followed_by_a_refusal(settings: Any) -> None:
    settings.TOKENS_ATTEMPTS = 1
    begin()
    assert refused_for() == 1
    elapse(1)
    assert begin().number == 2
    assert refused_for() == 2


def test_refused_attempt_is_not_counted() -> None:
    for _ in range(10):
        begin()
    before = AttemptCount.objects.values().get()
    for _ in range(20):
        refused_for()
    assert AttemptCount.objects.values().get() == before


def test_refused_attempt_logs_no_address() -> None:
    for _ in range(10):
        begin()
    with capture_logs() as lines:
        refused_for()
    assert lines == [{"event": "attempt_refused", "purpose": "sign-in", "retry_after": 1, "log_level": "warning"}]


def test_years_of_attempts_do_not_overflow() -> None:
    begin()
    AttemptCount.objects.update(failures=2_000_000)
    begin()
    assert refused_for() == 900


def test_count_is_cleared_after_15_minutes() -> None:
    for _ in range(9):
        begin()
    elapse(15 * 60 - 5)
    assert begin().number == 10  # ten, none of them later than a window after the one before
    elapse(1 + 15 * 60 - 5)
    assert begin().number == 11
    elapse(2 + 15 * 60 + 5)
    assert begin().number == 1


def test_success_and_unlock_clear_the_count() -> None:
    for _ in range(9):
        begin()
    attempt_succeeded(begin())
    assert not AttemptCount.objects.exists()
    for purpose in AttemptPurpose:
        begin(purpose)
    begin(email="other@example.com")
    assert sum(count.failures for count in attempts_clear(email="Ada@Example.com")) == len(AttemptPurpose)
    assert AttemptCount.objects.count() == 1


def test_purposes_and_addresses_are_counted_separately() -> None:
    for name in ("ada@example.com", "ADA@example.com", " ada@EXAMPLE.com ") * 3:
        begin(email=name)
    begin()
    refused_for()
    assert begin(email="bda@example.com").number == 1
    assert begin(AttemptPurpose.MAIL).number == 1
    assert begin(AttemptPurpose.CONFIRM).number == 1


def test_keys_hide_addresses_and_depend_on_the_secret() -> None:
    begin()
    with connection.cursor() as cursor:
        cursor.execute("SELECT encode(key, 'escape') || encode(key, 'hex') FROM accounts_attemptcount")
        stored = cursor.fetchone()[0]
    for said in (ADA, "ada@", "@example", ADA.encode().hex(), b"ada@".hex()):
        assert said not in stored
    with override_settings(SECRET_KEY="x" * 50):
        assert begin().number == 1


def test_cancelled_attempt_is_not_counted() -> None:
    for _ in range(9):
        begin()
    attempt_cancel(begin())
    attempt_cancel(begin())
    begin()
    refused_for()


def test_cancelling_keeps_a_later_refusal() -> None:
    first = begin()
    for _ in range(9):
        begin()
    attempt_cancel(first)
    refused_for()


@committed
def test_count_survives_a_rollback() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        begin()


@committed
def test_only_ten_of_many_parallel_attempts_are_hashed() -> None:
    user_create(email=ADA)
    began = time.monotonic()

    def guess(number: int) -> str:
        try:
            tried(password=f"guess number {number}")
        except (CredentialsRefused, TooManyAttempts) as problem:
            return problem.type
        return "in"

    with override_settings(TOKENS_HASHES_AT_ONCE=40):
        answers = at_once(40, guess)
    # The clock runs for these threads: refusals last 1, 2, 4 … seconds, and after each of them one attempt is checked.
    looked_at = answers.count("credentials-refused")
    assert 10 <= looked_at <= 10 + int(math.log2(time.monotonic() - began + 1))
    assert answers.count("too-many-attempts") == 40 - looked_at
    assert SecurityEvent.objects.filter(kind="sign-in-failed").count() == looked_at


def test_busy_hasher_cancels_the_attempt(client: Client) -> None:
    user_create(email=ADA)
    with override_settings(TOKENS_HASHES_AT_ONCE=1), ExitStack() as stack:
        stack.enter_context(hashing_slot())
        for _ in range(12):
            assert_problem(login(client), 503, "hashing-busy")
    assert login(client, password=PASSWORD).status_code == 200


@pytest.mark.parametrize("kind", ["known", "unknown", "deactivated"])
def test_refusals_do_not_reveal_accounts(client: Client, kind: str) -> None:
    if kind != "unknown":
        user_create(email=ADA, is_active=kind == "known")
    for _ in range(10):
        assert_problem(login(client), 401, "credentials-refused")
    answer = login(client, password=PASSWORD)
    document = assert_problem(answer, 429, "too-many-attempts")
    assert answer.headers["Retry-After"] == "1"
    said = str({name: value for name, value in document.items() if name != "request_id"})
    assert "ada" not in said
    events = SecurityEvent.objects.filter(kind="sign-in-failed")
    assert events.count() == 10
    assert set(events.values_list("user__email", flat=True)) == {None if kind == "unknown" else ADA}


def test_refusals_do_not_affect_existing_sessions(client: Client) -> None:
    user = user_create(email=ADA)
    pair = sign_in(user)
    for _ in range(11):
        login(client)
    assert_problem(login(client, password=PASSWORD), 429, "too-many-attempts")
    assert client.get("/api/v1/me", headers={"authorization": f"Bearer {pair.access}"}).status_code == 200
    refresh = client.post("/api/v1/auth/refresh", {"refresh": pair.refresh}, content_type="application/json")
    assert refresh.status_code == 200
    elapse(1)
    assert login(client, password=PASSWORD).status_code == 200
    assert not AttemptCount.objects.exists()


def test_confirmations_are_counted_separately() -> None:
    user = user_create(email=ADA)
    for _ in range(10):
        begin()

    def again(password: str) -> User:
        return password_confirm(user_id=user.pk, password=password, origin=NOWHERE, now=timezone.now())

    assert again(PASSWORD) == user
    for _ in range(10):
        with pytest.raises(PasswordWrong):
            again(WRONG)
    with pytest.raises(TooManyAttempts):
        again(PASSWORD)
    assert SecurityEvent.objects.filter(user=user, detail={"confirm": True}).count() == 10


@pytest.mark.parametrize(
    "request_mail",
    [
        lambda: user_register(email=ADA, password=PASSWORD, now=timezone.now()),
        lambda: email_verification_request(email=ADA),
        lambda: password_reset_request(email=ADA),
    ],
    ids=["register", "verify", "reset"],
)
def test_services_count_the_mails_they_send(request_mail: Callable[[], object], settings: Any) -> None:
    settings.TOKENS_ATTEMPTS = 2
    request_mail()
    with suppress(EmailTaken):
        request_mail()
    with pytest.raises(TooManyAttempts):
        request_mail()


def test_mails_to_an_address_are_limited(client: Client) -> None:
    body = {"email": ADA, "password": PASSWORD}
    answers = [client.post("/api/v1/auth/register", body, content_type="application/json") for _ in range(11)]
    assert {answer.status_code for answer in answers[1:10]} <= {202, 409}
    assert_problem(answers[10], 429, "too-many-attempts")
    assert login(client, password=PASSWORD).status_code in (200, 403)


def test_registrations_do_not_block_password_resets(client: Client) -> None:
    user_create(email=ADA)
    body = {"email": ADA, "password": PASSWORD}
    answers = [client.post("/api/v1/auth/register", body, content_type="application/json") for _ in range(11)]
    assert_problem(answers[10], 429, "too-many-attempts")
    reset = client.post("/api/v1/auth/password/reset", {"email": ADA}, content_type="application/json")
    assert reset.status_code == 202
    assert [message["To"] for message in mails_sent()] == [ADA]


class Interrupted(NormalisedArgon2Hasher):
    """Return a function that makes something happen while the password is checked."""

    happens: ClassVar[Callable[[], object]]

    def verify(self, password: str, encoded: str) -> bool:
        self.happens()
        return super().verify(password, encoded)

    def must_update(self, encoded: str) -> bool:
        return True


@pytest.fixture
def during_check(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[[Callable[[], object]], None]:
    settings.PASSWORD_HASHERS = [f"{__name__}.Interrupted"]
    return lambda happens: monkeypatch.setattr(Interrupted, "happens", staticmethod(happens), raising=False)


def test_rehashing_keeps_a_new_password(during_check: Any) -> None:
    user = user_create(email=ADA)
    during_check(lambda: None)
    assert tried(password=PASSWORD).password == User.objects.get().password != user.password
    during_check(lambda: User.objects.update(password="newer"))
    assert tried(password=PASSWORD).password != "newer"
    assert User.objects.get().password == "newer"


@committed
def test_account_deleted_during_the_check_is_refused(during_check: Any) -> None:
    user_create(email=ADA)
    during_check(lambda: User.objects.all().delete())
    with pytest.raises(CredentialsRefused):
        tried()
    assert SecurityEvent.objects.get().user_id is None


def test_bearer_token_does_not_bypass_the_count(client: Client) -> None:
    user = user_create(email=ADA)
    for _ in range(10):
        begin()
    body = {"email": ADA, "password": PASSWORD}
    answer = client.post("/api/v1/auth/login", body, content_type="application/json", **bearer(user))
    assert_problem(answer, 429, "too-many-attempts")
