"""A misspelt name is a warning, in files and in the process environment; other programs' names are left alone."""

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
def test_a_slip_of_a_finger_is_one_warning(tmp_path, name, meant, source):
    process = VALID
    if source == ".env":
        (tmp_path / ".env").write_text(f"{name}=letmein\n")
    else:
        process = {**VALID, name: "letmein"}
    found = read_environment(process=process, root=tmp_path)
    assert found.mistakes == []
    assert found.typos == [f"{name} in {source} is not a name that is read: did you mean {meant}?"]


@pytest.mark.parametrize(
    "name",
    """BASE_URL DATABASE_USER SECRET_KEY_BASE TEST_DATABASE_URL DATABASE_URL_X DATABASE_URL2 REDIS_URL_1 CACHE_TTL REDIS_SSL
    DATABASE_SSL DATABASE_NAME DATABASE_HOST EMAIL_HOST EMAIL_PORT HOST HOSTS POST PORTS SITE_URL SERVER_NAME WEB_PORT
    LOG_FILE LANGUAGE DEBUG_LEVEL SESSION_KEY CORS_ORIGINS DJANGO_ENVIRONMENT PGPORT AWS_REGION REDIS_TLS_URL
    HEROKU_POSTGRESQL_AMBER_URL SENTRY_ENVIRONMENT SENTRY_RELEASE PUBLIC_KEY JWT_SECRET""".split(),  # noqa: SIM905 - a list of names to read
)
def test_a_name_of_another_program_is_no_mistake_and_no_warning(tmp_path, name):
    (tmp_path / ".env").write_text(f"{name}=letmein\n")
    found = read_environment(process={**VALID, name: "letmein"}, root=tmp_path)
    assert (found.mistakes, found.typos) == ([], [])
    assert found.ignored == [f"{name} in .env"]


def test_a_name_beside_one_that_is_set_is_its_own(tmp_path):
    found = read_environment(process={**VALID, "JWT_KEY": "theirs", "DATABASE_URI": "theirs"}, root=tmp_path)
    assert found.typos == []


def test_a_piece_of_a_value_that_spilt_over_a_line_is_not_shown(tmp_path):
    (tmp_path / ".env").write_text("OTHER=abc\ndGhlIHNlY3JldA==\n")
    assert read_environment(process=VALID, root=tmp_path).ignored == [
        "OTHER in .env",
        "a name that is not in capitals in .env",
    ]


def test_the_report_of_mistakes_names_the_slips_behind_them(tmp_path, capsys):
    process = {**VALID, "SECRET_KEY": "", "SECRT_KEY": "letmein"}
    with pytest.raises(SystemExit):
        read_environment(process=process, root=tmp_path).require_valid()
    printed = capsys.readouterr().err
    assert "SECRET_KEY is missing" in printed
    assert "SECRT_KEY in the process environment is not a name that is read: did you mean SECRET_KEY?" in printed
    assert "letmein" not in printed


def test_a_process_that_boots_says_it_once_as_a_line_of_its_log():
    process = {**VALID, "SENTRY_DNS": "letmein", "PATH": ""}
    argv = [sys.executable, "-c", "import project.wsgi"]
    ran = subprocess.run(argv, cwd=ROOT, env=process, capture_output=True, text=True, timeout=60, check=True)
    [line] = [json.loads(line) for line in ran.stderr.splitlines() if "SENTRY_DNS" in line]
    assert line["level"] == "warning"
    assert line["detail"].endswith("did you mean SENTRY_DSN?")
    assert "letmein" not in ran.stderr
