"""Mails, as recipients, mail programs and mail servers see them."""

from __future__ import annotations

import hashlib
import html
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AccountLink, LinkPurpose
from apps.accounts.services.mails import KIND, Letter, Mail, mail_message, mail_submit
from apps.jobs.models import Job, JobState
from apps.jobs.tasks import job_run
from tests.apps.accounts.factories import sign_in, user_create
from tests.mails import link_in, mails_sent, parsed, text_of, token_in
from tests.processes import ROOT
from tests.smtp import mail_server

pytestmark = pytest.mark.django_db
SMTP = "django.core.mail.backends.smtp.EmailBackend"
LINKED = {Mail.VERIFY_EMAIL, Mail.RESET_PASSWORD, Mail.CHANGE_EMAIL, Mail.REGISTERED_AGAIN}


def written(template: Mail, **given: Any) -> EmailMultiAlternatives:
    link = f"http://testserver/account/x#{'t' * 43}" if template in LINKED else None
    letter = Letter(template=template, address="ada@example.com", link=link, **given)
    return mail_message(letter, job_id=uuid4(), asked_at=timezone.now())


def submitted(**given: Any) -> Job:
    mail_submit(**given)
    return Job.objects.filter(kind=KIND).latest("id")


def due(job: Job) -> None:
    Job.objects.filter(pk=job.pk, state="retryable").update(
        state="queued", run_at=timezone.now() - timedelta(seconds=1)
    )


# --- Contents.


@pytest.mark.parametrize("template", Mail)
def test_mail_text_and_html_agree(template: Mail, settings: Any) -> None:
    settings.SITE_NAME = "Bits & <Bobs>"
    message = parsed(written(template).message().as_bytes())
    text, page = text_of(message), text_of(message, "html")
    assert message["To"] == "ada@example.com"
    assert message["From"] == settings.DEFAULT_FROM_EMAIL
    assert message["Auto-Submitted"] == "auto-generated"
    assert "Bits & <Bobs>" in message["Subject"]
    assert "\n" not in message["Subject"]
    assert "Bits & <Bobs>" in text
    assert "<Bobs>" not in page
    assert not re.search(r"<(img|script|style|link|iframe|form)\b|url\(|src=", page, re.IGNORECASE)
    body = page.partition("<body>")[2]
    shown = re.findall(r"\w+", html.unescape(re.sub(r"<[^>]+>", " ", body)).lower())
    assert set(re.findall(r"\w+", text.lower())) <= set(shown)
    addresses = set(re.findall(r"https?://[^\s\"<]+", page))
    assert addresses == ({link_in(message)} if template in LINKED else set())
    assert ("60 minutes" in text) is (template in LINKED)
    assert max(len(line) for line in text.splitlines()) < 998


def test_every_mail_has_a_template() -> None:
    bases = {"base.subject.txt", "base.txt", "base.html"}
    assert {path.name for path in (ROOT / "templates/mails").iterdir()} == {f"{mail}.txt" for mail in Mail} | bases


@pytest.mark.parametrize("name", ["Bits\r\nBcc: everybody@example.com", "Bits\nX-Mine: 1"])
def test_values_cannot_add_headers(name: str, settings: Any) -> None:
    settings.SITE_NAME = name
    message = parsed(written(Mail.VERIFY_EMAIL).message().as_bytes())
    assert message["Bcc"] is None
    assert message["X-Mine"] is None
    assert " ".join(name.split()) in message["Subject"]


# --- Sending.


def test_mail_job_is_deleted_after_sending(client: Client) -> None:
    user = user_create()
    job = submitted(template=Mail.VERIFY_EMAIL, user_id=user.pk)
    assert job.owner_id is None
    [message] = mails_sent()
    assert message["To"] == user.email
    assert message["Message-ID"] == f"<{job.pk}@testserver>"
    assert not Job.objects.exists()
    link = AccountLink.objects.get()
    assert link_in(message).startswith("http://testserver/account/verify-email#")
    assert bytes(link.digest) == hashlib.sha256(token_in(message).encode()).digest()
    assert (link.user_id, link.purpose, link.email) == (user.pk, LinkPurpose.VERIFY_EMAIL, user.email)
    assert timedelta(minutes=59) < link.expires_at - timezone.now() <= timedelta(hours=1)


def test_token_is_in_no_row_and_no_log_line(capfd: pytest.CaptureFixture[str]) -> None:
    submitted(template=Mail.RESET_PASSWORD, address=user_create().email)
    [message] = mails_sent()
    token = token_in(message)
    rows = str([list(model.objects.values()) for model in (Job, AccountLink)])
    said = capfd.readouterr()
    assert "mail_sent" in said.out + said.err
    assert token not in rows + said.out + said.err


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        (Mail.RESET_PASSWORD, None),
        (Mail.VERIFY_EMAIL, None),
        (Mail.VERIFY_EMAIL, {"email_verified": True}),
        (Mail.RESET_PASSWORD, {"is_active": False}),
        (Mail.REGISTERED_AGAIN, {"is_active": False}),
    ],
)
def test_unneeded_mails_are_not_sent(template: Mail, fields: dict[str, Any] | None) -> None:
    email = user_create(**fields).email if fields is not None else "nobody@example.com"
    submitted(template=template, address=email)
    assert mails_sent() == []
    assert not AccountLink.objects.exists()
    assert not Job.objects.exists()


def test_no_change_mail_to_a_taken_address() -> None:
    owner, other = user_create(), user_create()
    submitted(template=Mail.CHANGE_EMAIL, user_id=other.pk, address=owner.email, requester=other)
    submitted(template=Mail.CHANGE_EMAIL, user_id=other.pk, address="free@example.com", requester=other)
    assert [message["To"] for message in mails_sent()] == ["free@example.com"]


def test_later_request_ends_earlier_links() -> None:
    user = user_create()
    for template in (Mail.RESET_PASSWORD, Mail.VERIFY_EMAIL, Mail.RESET_PASSWORD):
        submitted(template=template, address=user.email)
        mails_sent()
    first, verify, second = (hashlib.sha256(token_in(message).encode()).digest() for message in mails_sent())
    assert {bytes(link.digest) for link in AccountLink.objects.all()} == {verify, second} != {first}


def test_token_reuse_is_mailed_once() -> None:
    from apps.accounts.services.events import Origin
    from apps.accounts.services.sessions import TokenReused, session_refresh
    from apps.accounts.services.tokens import TokenRefused

    user = user_create()
    pair, now, thief = sign_in(user), timezone.now(), Origin(device="another")
    session_refresh(token=pair.refresh, origin=Origin(device="test"), now=now)
    with pytest.raises(TokenReused):
        session_refresh(token=pair.refresh, origin=thief, now=now)
    with pytest.raises(TokenRefused):
        session_refresh(token=pair.refresh, origin=thief, now=now)
    [message] = mails_sent()
    assert message["To"] == user.email
    assert "sessions was ended" in message["Subject"]


# --- Mail servers that fail.


@pytest.fixture
def smtp(settings: Any) -> Any:
    """Return a function that makes Django send to the test's server: `smtp(server)`."""

    def use(server: Any) -> None:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = SMTP, "127.0.0.1", server.port

    return use


def test_mail_uses_one_connection(smtp: Any) -> None:
    user = user_create()
    with mail_server() as server:
        smtp(server)
        job = submitted(template=Mail.VERIFY_EMAIL, user_id=user.pk)
        job_run(str(job.pk))
    assert server.connections == 1
    assert [line for line in server.commands if line.startswith("rcpt")] == [f"rcpt TO:<{user.email}>"]
    [content] = server.mails
    assert parsed(content)["Message-ID"] == f"<{job.pk}@testserver>"
    assert not Job.objects.exists()


@pytest.mark.parametrize("replies", [{"RCPT": "550 5.1.1 no such user"}, {"MESSAGE": "554 5.7.1 not wanted"}])
def test_permanent_rejection_is_not_retried(smtp: Any, replies: dict[str, str]) -> None:
    with mail_server(**replies) as server:
        smtp(server)
        job = submitted(template=Mail.VERIFY_EMAIL, user_id=user_create().pk)
        job_run(str(job.pk))
        job.refresh_from_db()
        assert job.state == JobState.DISCARDED
        assert job.problem is not None
        assert job.problem["type"].endswith("/problems/mail-refused")
        assert "@" not in str(job.problem)
        due(job)
        job_run(str(job.pk))
    assert server.connections == 1


@pytest.mark.parametrize(
    "replies", [{"RCPT": "450 4.2.1 later"}, {"MESSAGE": "451 4.3.0 later"}, {"MAIL": "421 4.3.2 busy"}]
)
def test_temporary_rejection_is_retried(smtp: Any, replies: dict[str, str]) -> None:
    with mail_server(**replies) as server:
        smtp(server)
        job = submitted(template=Mail.RESET_PASSWORD, address=user_create().email)
        job_run(str(job.pk))
        job.refresh_from_db()
        assert (job.state, job.attempts) == (JobState.RETRYABLE, 1)
        assert job.run_at > timezone.now()
        server.replies = {"DATA": "354 go on", "QUIT": "221 bye"}
        server.mails.clear()
        due(job)
        job_run(str(job.pk))
    [content] = server.mails
    assert parsed(content)["Message-ID"] == f"<{job.pk}@testserver>"
    assert not Job.objects.exists()


def test_links_of_a_repeated_mail_all_work(smtp: Any, settings: Any) -> None:
    """The server took the mail and then went silent. The mail is sent again with a new link, and both links work."""
    settings.EMAIL_TIMEOUT = 3  # also bounds the dialogue before the silence
    with mail_server(MESSAGE=None) as server:
        smtp(server)
        job = submitted(template=Mail.RESET_PASSWORD, address=user_create().email)
        started = time.monotonic()
        job_run(str(job.pk))
        assert time.monotonic() - started < 30
        settings.EMAIL_TIMEOUT = 30
        server.replies = {"DATA": "354 go on", "QUIT": "221 bye"}
        due(job)
        job_run(str(job.pk))
    tokens = {token_in(parsed(content)) for content in server.mails}
    assert len(tokens) == 2
    assert {parsed(content)["Message-ID"] for content in server.mails} == {f"<{job.pk}@testserver>"}
    alive = {bytes(link.digest) for link in AccountLink.objects.all()}
    assert alive == {hashlib.sha256(token.encode()).digest() for token in tokens}


@pytest.mark.parametrize("replies", [{"EHLO": None}, {"RCPT": None}])
def test_silent_server_times_out_and_is_retried(smtp: Any, settings: Any, replies: dict[str, None]) -> None:
    settings.EMAIL_TIMEOUT = 0.5
    with mail_server(**replies) as server:
        smtp(server)
        job = submitted(template=Mail.VERIFY_EMAIL, user_id=user_create().pk)
        started = time.monotonic()
        job_run(str(job.pk))
        assert time.monotonic() - started < 30
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.RETRYABLE, 1)


def test_unreachable_server_is_retried(smtp: Any) -> None:
    with mail_server() as server:
        smtp(server)
    job = submitted(template=Mail.VERIFY_EMAIL, user_id=user_create().pk)
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.RETRYABLE, 1)


# --- Staging.


@pytest.fixture
def redirected(settings: Any) -> None:
    settings.EMAIL_REDIRECT = "Staging <staging@example.com>"
    settings.EMAIL_REDIRECTED_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.EMAIL_BACKEND = "apps.practices.environment.mail.RedirectBackend"


@pytest.mark.usefixtures("redirected")
def test_staging_redirects_all_mails() -> None:
    headers = {"Cc": "eve@example.com", "X-Kept": "1"}
    several = EmailMessage(
        "Hello", "…", to=["a@example.com"], cc=["b@example.com"], bcc=["c@example.com"], headers=headers
    )
    several.send()
    mail.send_mail("One", "…", None, ["a@example.com"], html_message="<p>…</p>")
    submitted(template=Mail.VERIFY_EMAIL, user_id=user_create(email="ada@example.com").pk)
    first, second, third = mails_sent()
    for message in mail.outbox:
        assert message.recipients() == ["Staging <staging@example.com>"]
    assert first["Subject"] == "[for a@example.com and 2 more] Hello"
    assert first["X-Redirected-From"] == "a@example.com, b@example.com, c@example.com"
    assert (first["Cc"], first["X-Kept"]) == (None, "1")
    assert second["Subject"] == "[for a@example.com] One"
    assert "<p>" in text_of(second, "html")
    assert third["X-Redirected-From"] == "ada@example.com"
    assert several.to == ["a@example.com"]  # the caller's message is not changed


@pytest.mark.usefixtures("redirected")
def test_mail_without_recipients_is_not_redirected(settings: Any) -> None:
    EmailMessage("Hello", "…").send()
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp+tls://us%40er:pa%2Fss@mail.example.com", ("mail.example.com", 587, "us@er", "pa/ss", True, False)),
        ("smtps://u:p@mail.example.com", ("mail.example.com", 465, "u", "p", False, True)),
        ("smtp+ssl://mail.example.com:4650", ("mail.example.com", 4650, "", "", False, True)),
        ("smtp://localhost:2525", ("localhost", 2525, "", "", False, False)),
    ],
)
def test_mail_settings_follow_the_url(url: str, expected: tuple[Any, ...]) -> None:
    names = ["EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL"]
    assert component(EMAIL_URL=url, names=[*names, "EMAIL_BACKEND", "EMAIL_TIMEOUT"]) == [*expected, SMTP, 10]


def test_redirect_and_folder_follow_the_environment(tmp_path: Path) -> None:
    names = ["EMAIL_BACKEND", "EMAIL_REDIRECTED_BACKEND", "EMAIL_FILE_PATH"]
    url = f"filemail://{tmp_path}"
    files = "django.core.mail.backends.filebased.EmailBackend"
    assert component(EMAIL_URL=url, names=names) == [files, files, str(tmp_path)]
    backend = "apps.practices.environment.mail.RedirectBackend"
    assert component(EMAIL_URL=url, EMAIL_REDIRECT="s@example.com", names=names) == [backend, files, str(tmp_path)]


def component(*, names: list[str], **environment: str) -> list[Any]:
    """Return values of settings/components/mail.py from a new process."""
    import json
    import os
    import subprocess
    import sys

    code = f"import json; from settings import test; print(json.dumps([getattr(test, name) for name in {names}]))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings.test", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    values: list[Any] = json.loads(ran.stdout)
    return values


def test_staging_mailbox_keeps_its_domain() -> None:
    names = ["EMAIL_REDIRECT"]
    assert component(EMAIL_REDIRECT="Büro <a@faß.example>", names=names) == ["Büro <a@xn--fa-hia.example>"]
