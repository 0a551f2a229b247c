"""observability: what a log line is, and that no secret stands in one."""

import json
import re
import time
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from apps.practices.observability import logs, redaction
from apps.practices.observability.setup import configure
from tests.processes import script_run
from tools.stack import Stack

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dGhpcyBpcyBhIHNpZ25hdHVyZQ"

# What is attacked: each text carries the word hunter2 (or a JWT) as a secret, and none may come through.
ATTACKS = [
    f"Authorization: Bearer {JWT}",
    "Authorization: Basic aHVudGVyMg==:hunter2",
    "authorization=hunter2",
    "{'HTTP_AUTHORIZATION': 'Token hunter2', 'x': 1}",
    "Cookie: a=1; sessionid=hunter2; b=hunter2",
    "Set-Cookie: __Host-access=hunter2; Path=/",
    f"the token was {JWT} and failed",
    f"https://api.example.com/reset?code=1&token={JWT}&x=1",
    "https://api.example.com/?PASSWORD=hunter2&next=/",
    "https://api.example.com/?access_token=hunter2",
    "next=%2Freset%3Ftoken%3Dhunter2%26x",
    'body was {"password": "hunter2", "email": "x"}',
    'body was {"new_password": "hunt\\"er hunter2"}',
    "body was {'password2':'hunter2'}",
    'body was {"password": "unterminated hunter2',
    "client_secret = hunter2",
    "api_key: hunter2",
    "postgresql://app:hunter2@db.internal:5432/app?sslmode=require",
    "redis://:hunter2@cache:6379/0 refused",
    "rediss://user:p@ss/hunter2@cache:6379",
    "https://hunter2@sentry.example.com/5",
    "X-API-Key: hunter2",
    "csrfmiddlewaretoken=hunter2&title=x",
    "DATABASE_PASSWORD=hunter2",
    "write to hunter2@example.com today",
    "mail=hunter2%40example.com",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_secrets_in_text_are_redacted(text: str) -> None:
    cleaned = redaction.redact_text(text)
    assert "hunter2" not in cleaned
    assert JWT.partition(".")[0] not in cleaned


@pytest.mark.parametrize("text", ATTACKS)
def test_secrets_in_log_lines_are_redacted(text: str) -> None:
    event = {
        "event": text,
        "nested": {"list": [text, {"deep": text}], text: 1},
        "bytes": text.encode(),
        "error": ValueError(text),
    }
    line = logs.render_json(None, "info", logs.redact_event(None, "info", event)).decode()
    assert "hunter2" not in line
    assert JWT.partition(".")[0] not in line


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "HTTP_COOKIE", "refresh_token", "apiKey", "client-secret", "JWT_KEYS", "dsn"]
)
def test_values_of_sensitive_names_are_hidden(name: str) -> None:
    assert redaction.redact({name: {"any": ["thing"]}}) == {name: redaction.HIDDEN}


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user",
        "GET /api/v1/sample/notes/01a20563-693d-7549-8bf7-effdad9aebe3",
        "key (slug)=(a-title) already exists",
        "connection to 10.0.0.5:5432 refused",
        "took 3.5 s, 2 of 7 rows",
    ],
)
def test_harmless_text_is_not_changed(text: str) -> None:
    assert redaction.redact_text(text) == text


def test_secrets_of_the_settings_are_hidden_anywhere() -> None:
    password = settings.DATABASES["default"].get("PASSWORD")
    text = f"opaque {settings.SECRET_KEY} words {password or ''}"
    cleaned = redaction.redact_text(text)
    assert settings.SECRET_KEY not in cleaned
    assert not password or len(password) < 8 or password not in cleaned


def test_all_secret_settings_are_redacted() -> None:
    with override_settings(
        TOKENS_KEYS=[{"key": "a-ring-key-of-some-length"}],
        CACHES={"default": {**settings.CACHES["default"], "LOCATION": "redis://:cache-word@127.0.0.1:9/1"}},
        CELERY_BROKER_URL="redis://:broker-word@127.0.0.1:9/2",
        EMAIL_HOST_PASSWORD="mail-word",
    ):
        known = redaction._settings_secrets()
    assert {"a-ring-key-of-some-length", "cache-word", "broker-word", "mail-word"} <= set(known)


@given(st.text(max_size=300))
@hypothesis_settings(max_examples=60, deadline=None)
def test_line_is_one_json_object_without_control_characters(text: str) -> None:
    line = logs.render_json(None, "info", logs.redact_event(None, "info", {"event": text, text: text}))
    assert isinstance(json.loads(line), dict)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line.decode())


def test_console_line_escapes_control_characters() -> None:
    line = logs.ConsoleLine()(None, "info", {"event": "a\nfake line\x1b[2J", "level": "info", "x": "b\r\nc\x9b"})
    assert b"\n" not in line
    assert not re.search(rb"\x1b\[2J|\r", line)
    assert "\x9b" not in line.decode()


def test_redaction_is_fast_on_hostile_text() -> None:
    started = time.process_time()  # the work itself, however busy the machine is
    for text in (
        "password" * 10_000,
        "a" * 100_000 + "@",
        "://" * 50_000,
        "eyJ" * 50_000,
        "token=" * 20_000,
        '"' * 90_000,
    ):
        redaction.redact_text(text)
    assert time.process_time() - started < 2


def test_lines_of_a_real_process(stack: Stack) -> None:
    """Django's own, structlog's and a traceback, as another program reads them from standard error."""
    script = """
import django; django.setup()
import logging, structlog
structlog.contextvars.bind_contextvars(request_id="r-1")
structlog.get_logger("mine").info("one", password="hunter2", note="two\\nlines")
logging.getLogger("django.request").error("Authorization: Bearer %s", "hunter2hunter2", extra={"status_code": 500})
logging.getLogger("mine").debug("unseen")
try:
    raise ValueError("token=hunter2")
except ValueError:
    structlog.get_logger("mine").exception("three")
"""
    done = script_run(script, stack)
    assert done.stdout == ""
    assert "hunter2" not in done.stderr
    one, two, three = [json.loads(line) for line in done.stderr.splitlines()]
    assert one["event"] == "one"
    assert one["note"] == "two\nlines"
    assert one["level"] == "info"
    assert one["logger"] == "mine"
    assert one["request_id"] == two["request_id"] == "r-1"
    assert two["status_code"] == 500
    assert "ValueError" in three["exception"]


def test_unwritable_log_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, data: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("os.write", refuse)
    logs.STDERR.write(b"lost\n")


def test_warnings_and_thread_failures_are_log_lines(stack: Stack) -> None:
    script = (
        "import django, threading, warnings; django.setup()\n"
        "warnings.warn('Something is odd', stacklevel=1)\n"
        "def fails():\n    raise LookupError('sesame')\n"
        "thread = threading.Thread(target=fails, name='one'); thread.start(); thread.join()\n"
    )
    warned, failed = [json.loads(line) for line in script_run(script, stack).stderr.splitlines()]
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert "Something is odd" in warned["event"]
    assert (failed["event"], failed["thread"], failed["level"]) == ("thread_failed", "one", "error")
    assert "LookupError" in failed["exception"]


def test_access_line_has_the_bytes_of_structlog(stack: Stack) -> None:
    """The line of every request is written without structlog's loggers, and differs from theirs in nothing but its time."""
    script = """
import django; django.setup()
import structlog
from apps.practices.observability.logs import info_write
structlog.contextvars.bind_contextvars(request_id="r-1", other="token=hunter2")
def fields():
    return {"method": "GET", "route": "/a/<uuid:id>",
        "path": "/a/token=hunter2\\u2028\\ud800", "status": 200, "duration_ms": 1.5, "user_id": None}
structlog.get_logger("access").info("request", **fields())
info_write("request", fields(), logger="access")
structlog.get_logger("access").info("request", path="/plain")
info_write("request", {"path": "/plain"}, logger="access")
"""
    lines = re.sub(r'"time": ?"[^"]+"', "", script_run(script, stack).stderr).splitlines()
    assert len(lines) == 4
    assert "hunter2" not in lines[1]
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]


@pytest.mark.parametrize(("level", "count"), [("INFO", 1), ("WARNING", 0)])
def test_access_line_follows_the_level(stack: Stack, level: str, count: int) -> None:
    script = f"import os; os.environ['LOG_LEVEL'] = '{level}'\n" + (
        "import django; django.setup()\n"
        "from apps.practices.observability.logs import info_write\n"
        "info_write('request', {}, logger='access')\n"
    )
    assert len(script_run(script, stack).stderr.splitlines()) == count


def test_loggers_follow_a_second_configuration() -> None:
    """``django.setup`` runs again where a process imports ``project.wsgi``; structlog's loggers keep what they used first."""
    logger = structlog.get_logger("configured-twice")
    logger.info("first_use")
    configure(settings.LOGGING)
    with capture_logs() as captured:
        logger.warning("second_use")
    assert [line["event"] for line in captured] == ["second_use"]
