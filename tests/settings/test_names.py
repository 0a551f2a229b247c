"""Misspelt names in files and in the process environment are warnings; names of other programs are not."""

import json
import subprocess
import sys

import pytest

from settings.env import ROOT, read_environment
from tests.practices.test_environment import VALID


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SENTRY_DNS", "SENTRY_DSN"),
        ("SENTRYDSN", "SENTRY_DSN"),
        ("METRIC_TOKEN", "METRICS_TOKEN"),
        ("METRICS_TOKEN_FLIE", "METRICS_TOKEN_FILE"),
        ("DATABSE_REPLICA_ULR", "DATABASE_REPLICA_URL"),
        ("SECRET_KEY_FALBACK", "SECRET_KEY_FALLBACKS"),
        ("site_name", "SITE_NAME"),
    ],
)
@pytest.mark.parametrize("source", [".env", "the process environment"])
def test_typos_are_warnings(tmp_path, name, meant, source):
    process = VALID
    if source == ".env":
        (tmp_path / ".env").write_text(f"{name}=letmein\n")
    else:
        process = {**VALID, name: "letmein"}
    found = read_environment(process=process, root=tmp_path)
    assert found.errors == []
    assert found.typos == [f"{name} in {source} has no effect. Did you mean {meant}?"]


@pytest.mark.parametrize(
    "name",
    """BASE_URL DATABASE_USER SECRET_KEY_BASE TEST_DATABASE_URL DATABASE_URL_X DATABASE_URL2 REDIS_URL_1 CACHE_TTL REDIS_SSL
    DATABASE_SSL DATABASE_NAME DATABASE_HOST EMAIL_HOST EMAIL_PORT HOST HOSTS POST PORTS SITE_URL SERVER_NAME WEB_PORT
    LOG_FILE LANGUAGE DEBUG_LEVEL SESSION_KEY CORS_ORIGINS DJANGO_ENVIRONMENT PGPORT AWS_REGION REDIS_TLS_URL
    HEROKU_POSTGRESQL_AMBER_URL SENTRY_ENVIRONMENT SENTRY_RELEASE PUBLIC_KEY JWT_SECRET""".split(),  # noqa: SIM905 - a list of names to read
)
def test_names_of_other_programs_are_ignored(tmp_path, name):
    (tmp_path / ".env").write_text(f"{name}=letmein\n")
    found = read_environment(process={**VALID, name: "letmein"}, root=tmp_path)
    assert (found.errors, found.typos) == ([], [])
    assert found.ignored == [f"{name} in .env"]


def test_a_name_like_one_that_is_set_is_no_typo(tmp_path):
    found = read_environment(process={**VALID, "JWT_KEY": "theirs", "DATABASE_URI": "theirs"}, root=tmp_path)
    assert found.typos == []


def test_parts_of_broken_values_are_hidden(tmp_path):
    (tmp_path / ".env").write_text("OTHER=abc\ndGhlIHNlY3JldA==\n")
    assert read_environment(process=VALID, root=tmp_path).ignored == [
        "OTHER in .env",
        "a name that is not upper-case in .env",
    ]


def test_the_report_lists_typos(tmp_path, capsys):
    process = {**VALID, "SECRET_KEY": "", "SECRT_KEY": "letmein"}
    with pytest.raises(SystemExit):
        read_environment(process=process, root=tmp_path).require_valid()
    printed = capsys.readouterr().err
    assert "SECRET_KEY is missing" in printed
    assert "SECRT_KEY in the process environment has no effect. Did you mean SECRET_KEY?" in printed
    assert "letmein" not in printed


def test_typos_are_logged_once():
    process = {**VALID, "SENTRY_DNS": "letmein", "PATH": ""}
    argv = [sys.executable, "-c", "import project.wsgi"]
    ran = subprocess.run(argv, cwd=ROOT, env=process, capture_output=True, text=True, timeout=60, check=True)
    [line] = [json.loads(line) for line in ran.stderr.splitlines() if "SENTRY_DNS" in line]
    assert line["level"] == "warning"
    assert line["detail"].endswith("Did you mean SENTRY_DSN?")
    assert "letmein" not in ran.stderr
