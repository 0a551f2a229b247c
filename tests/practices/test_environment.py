"""environment: layers, files, and one report with all errors and no secret."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from settings.env import read_environment
from settings.variables import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
STRONG = "qN3v8ZtR5yWkLp0aXc7bMd2eFg9hJs4uTi6oPz1xCvBnAsDfGhQwErTy"
VALID = {
    "DJANGO_ENV": "prod",
    "PUBLIC_URL": "https://api.example.com",
    "SECRET_KEY": STRONG,
    "ALLOWED_HOSTS": "api.example.com",
    "TRUSTED_PROXIES": "1",
    "DATABASE_URL": "postgresql://user:word@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "JWT_KEYS": json.dumps([{"kid": "a", "key": STRONG, "sign_from": "2026-01-01T00:00:00Z"}]),
    "EMAIL_URL": "dummymail://",
    "EMAIL_FROM": "noreply@api.example.com",
    "EMAIL_REDIRECT": "staging@example.com",
}


def ring(key: str) -> str:
    return json.dumps([{"kid": "b", "key": key, "sign_from": "2026-01-01T00:00:00Z"}])


def errors(tmp_path: Path, **changes: str | None) -> list[str]:
    process = {name: value for name, value in {**VALID, **changes}.items() if value is not None}
    return read_environment(process=process, root=tmp_path).errors


def boot(code: str, **process: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python in the project's root, with only these variables."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **process},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_valid_environment_has_no_errors(tmp_path):
    assert errors(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECRET_KEY", "short", "SECRET_KEY is weak"),
        ("SECRET_KEY", "a" * 80, "SECRET_KEY is weak"),
        ("SECRET_KEY", "django-insecure-" + STRONG, "SECRET_KEY is weak"),
        ("SECRET_KEY", "change-me-to-a-long-random-string-of-50-characters-or-more", "SECRET_KEY is weak"),
        ("SECRET_KEY_FALLBACKS", "old", "SECRET_KEY_FALLBACKS is weak"),
        ("JWT_KEYS", ring("change-me-to-32-bytes-or-more-of-random-text"), "JWT_KEYS: the key of b is weak"),
        ("JWT_KEYS", ring("0123456789abcdef" * 4), "JWT_KEYS: the key of b is weak"),
        ("METRICS_TOKEN", "change-me-to-something-else", "METRICS_TOKEN is weak"),
        ("ALLOWED_HOSTS", "*", "wildcard"),
        ("ALLOWED_HOSTS", "https://api.example.com", "host names only"),
        ("PUBLIC_URL", "http://api.example.com", "https://"),
        ("PUBLIC_URL", "api.example.com", "PUBLIC_URL"),
        ("TRUSTED_PROXIES", "lots", "Cloudflare before Heroku 2"),
        ("REDIS_URL", "redis://cache.internal:6379/0", "rediss://"),
        ("DATABASE_URL", "postgresql://u:p@db.internal/x?sslmode=disable", "sslmode"),
        ("DATABASE_URL", "mysql://u:p@db.internal/x", "postgresql://"),
        ("DATABASE_PGBOUNCER", "mysql://u:p@db.internal/x", "postgresql://"),
        ("DATABASE_PGBOUNCER", "postgresql://u:p@db.internal/x?sslmode=disable", "sslmode"),
        (
            "DATABASE_PGBOUNCER",
            "postgresql://u:p@127.0.0.1:2/x?options=-cwork_mem%3D1MB&assume_role=",
            "assume_role, options",
        ),
        ("DATABASE_PGBOUNCER", "postgresql://u:p@127.0.0.1:1/x?connect_timeout=3", "the same server"),
        ("THROTTLE_ANON", "lots", "100/15m"),
        ("ALLOW_PLAINTEXT_STORES", "maybe", "true or false"),
        ("CORS_ALLOWED_ORIGINS", "*", "origins"),
        ("CORS_ALLOWED_ORIGINS", "null", "origins"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.com", "no wildcard"),
        ("CORS_ALLOWED_ORIGINS", "https://App.example.com", "lower case"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com/", "no path"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com:443", "no default port"),
        ("CORS_ALLOWED_ORIGINS", "https://user@app.example.com", "origins"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com:x", "origins"),
        ("CORS_ALLOWED_ORIGINS", "http://app.example.com", "others on the network"),
        ("ACCOUNT_URL", "http://app.example.com/account", "others on the network"),
        ("EMAIL_URL", "smtp://user:letmein@mail.example.com", "EMAIL_URL is not encrypted"),
        ("JWT_KEYS", "{}", "JSON list"),
        ("LOG_LEVEL", "chatty", "DEBUG, INFO"),
        ("WEB_THREADS", "0", "from 1 to 256"),
        ("METRICS_TOKEN", "letmein", "METRICS_TOKEN is weak"),
        ("DEBUG", "true", "DEBUG is set"),
        ("DJANGO_SETTINGS_MODULE", "settings.staging", "unset one of them"),
    ],
)
def test_each_error_is_reported_without_the_value(tmp_path, name, value, says):
    found = errors(tmp_path, **{name: value})
    assert len(found) == 1
    assert says in found[0]
    assert "letmein" not in found[0]
    assert STRONG not in found[0]


REQUIRED = [(name, variable.name) for variable in VARIABLES for name in sorted(variable.required_in)]


@pytest.mark.parametrize(("environment", "name"), REQUIRED)
def test_each_required_name_is_reported(tmp_path, environment, name):
    found = errors(tmp_path, DJANGO_ENV=environment, **{name: None})
    assert len(found) == 1
    assert found[0].startswith(f"{name} is missing")


def test_plaintext_stores_can_be_allowed(tmp_path):
    changes = {"REDIS_URL": "redis://cache.internal/0", "EMAIL_URL": "smtp://mail.internal"}
    assert errors(tmp_path, **changes, ALLOW_PLAINTEXT_STORES="true") == []
    assert errors(tmp_path, EMAIL_URL="smtp://localhost:25") == []


def test_all_errors_are_in_one_report():
    started = time.monotonic()
    ran = boot(
        "import settings.prod",
        DJANGO_ENV="prod",
        SECRET_KEY="sesame-open",
        ALLOWED_HOSTS="*",
        WEB_THREADS="none",
        DATABASE_URL="postgresql://user:sesame-database@127.0.0.1/x",
    )
    assert ran.returncode == 1
    assert time.monotonic() - started < 30  # 3 s on a quiet machine
    for name in (
        "SECRET_KEY",
        "ALLOWED_HOSTS",
        "WEB_THREADS",
        "PUBLIC_URL",
        "REDIS_URL",
        "JWT_KEYS",
        "TRUSTED_PROXIES",
    ):
        assert name in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "sesame" not in ran.stderr + ran.stdout


@pytest.mark.parametrize("entry", ["manage.py check", "-m celery -A project report", "-c 'import project.wsgi'"])
def test_every_entry_point_refuses_to_start(entry):
    ran = subprocess.run(
        f"exec {sys.executable} {entry}",
        shell=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DJANGO_ENV": "prod"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "SECRET_KEY is missing" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_command_lines_must_be_utf_8():
    argv = [sys.executable, "manage.py", "user", "unlock", b"ad\xe4@example.com"]  # as a Latin-1 terminal writes it
    ran = subprocess.run(argv, cwd=ROOT, env={"LC_ALL": "C.UTF-8"}, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.decode()) == (1, "The command line is not valid UTF-8.\n")


def test_the_server_refuses_once():
    ran = subprocess.run(
        ["bin/web"],
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DJANGO_ENV": "prod"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.count("SECRET_KEY is missing") == 1


def test_unset_means_prod(tmp_path):
    assert read_environment(process={}, root=tmp_path).name == "prod"


def test_later_layers_win(tmp_path):
    for file, value in ((".env", "a"), (".env.local", "b"), (".env.prod", "c"), (".env.prod.local", "d")):
        (tmp_path / file).write_text(f"SITE_NAME={value}\n")
        found = read_environment(process=VALID, root=tmp_path)
        assert (found["SITE_NAME"], found.entries["SITE_NAME"].source) == (value, file)
    assert read_environment(process={**VALID, "SITE_NAME": "e"}, root=tmp_path)["SITE_NAME"] == "e"


def test_an_empty_value_means_the_default(tmp_path):
    (tmp_path / ".env").write_text("SITE_NAME=mine\nSECRET_KEY=\n")
    assert read_environment(process={**VALID, "SITE_NAME": ""}, root=tmp_path)["SITE_NAME"] == "Shipshape"
    assert read_environment(process=VALID, root=tmp_path)["SECRET_KEY"] == STRONG


def test_secrets_from_files(tmp_path):
    (tmp_path / "secret").write_text(STRONG + "\n")
    process = {**VALID, "SECRET_KEY": "", "SECRET_KEY_FILE": str(tmp_path / "secret")}
    found = read_environment(process=process, root=tmp_path)
    assert found["SECRET_KEY"] == STRONG
    assert found.errors == []


def test_an_unreadable_secret_file_is_one_error(tmp_path):
    found = errors(tmp_path, SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "absent"))
    [error] = found
    assert error.startswith("SECRET_KEY_FILE in the process environment names a file that cannot be read: ")


def test_the_settings_module_beats_django_env_in_files(tmp_path):
    (tmp_path / ".env").write_text("DJANGO_ENV=dev\n")
    assert read_environment(process={}, root=tmp_path).name == "dev"
    assert read_environment(process={"DJANGO_SETTINGS_MODULE": "settings.test"}, root=tmp_path).name == "test"


def test_tests_ignore_a_developers_values(tmp_path):
    (tmp_path / ".env").write_text("DJANGO_ENV=dev\nSITE_NAME=mine\n")
    found = read_environment(process={"DJANGO_SETTINGS_MODULE": "settings.test"}, root=tmp_path)
    assert found["SITE_NAME"] == "Shipshape"


def test_development_servers_are_the_weakest_layer(tmp_path):
    (tmp_path / "var").mkdir()
    state = {
        "pid": os.getpid(),
        "urls": {"DATABASE_URL": "postgresql://a@127.0.0.1/x", "REDIS_URL": "redis://127.0.0.1/1"},
    }
    (tmp_path / "var" / "stack.json").write_text(json.dumps(state))
    dev = {"DJANGO_ENV": "dev"}
    assert read_environment(process=dev, root=tmp_path)["REDIS_URL"] == "redis://127.0.0.1/1"
    assert read_environment(process={**dev, "REDIS_URL": "redis://h/2"}, root=tmp_path)["REDIS_URL"] == "redis://h/2"
    state["pid"] = 2**22 + 1  # above Linux's largest pid: no such process
    (tmp_path / "var" / "stack.json").write_text(json.dumps(state))
    assert read_environment(process=dev, root=tmp_path).entries["REDIS_URL"].source == "default"


def test_manage_env_hides_secrets_and_shows_sources():
    ran = subprocess.run(
        [sys.executable, "manage.py", "env"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            **VALID,
            "DATABASE_URL": "postgresql://user:sesame@127.0.0.1:1/none?password=sesame",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert STRONG not in ran.stdout
    assert "sesame" not in ran.stdout
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("# environment: prod ")
    assert any(re.fullmatch(r"ALLOWED_HOSTS=api\.example\.com +# the process environment", line) for line in lines)
    assert any(line.startswith("#DATABASE_URL=postgresql://(hidden)@127.0.0.1:1/none ") for line in lines)
    assert any(re.fullmatch(r"WEB_THREADS=\d+ +# default", line) for line in lines)


def test_the_output_of_manage_env_is_an_env_file(tmp_path):
    """Rates, lists, booleans, numbers, hosts, networks and texts, as an operator writes them; secrets stay comments."""
    written = {
        "SITE_NAME": 'It\'s "mine" # really \\ $HOME',
        "THROTTLE_ANON": "40/5m",
        "ALLOWED_HOSTS": "api.example.com, .example.com",
        "TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32",
        "CORS_ALLOWED_ORIGINS": "https://a.example.com,https://b.example.com:8443",
        "REQUIRE_VERIFIED_EMAIL": "Yes",
        "EMAIL_FROM": "Shipshape <noreply@example.com>",
        "CACHE_LOCAL_SECONDS": "0.5",
        "CSP_REPORT_URI": "https://r.example.com/api/1/security/?sentry_key=a&b=c",
        "SECRET_KEY_FALLBACKS": STRONG[::-1],
    }
    process = {**VALID, **written}
    ran = subprocess.run(
        [sys.executable, "manage.py", "env"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **process},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.rpartition("  # ")[0].rstrip() for line in ran.stdout.splitlines()]
    assert {"THROTTLE_ANON=40/5m", "THROTTLE_USER=1000/15m", "ALLOW_PLAINTEXT_STORES=false", "#SENTRY_DSN="} <= set(
        lines
    )
    assert "#SECRET_KEY=(hidden)" in lines
    assert not {STRONG, STRONG[::-1]} & set(ran.stdout.split("="))
    (tmp_path / ".env").write_text(ran.stdout)
    hidden = {variable.name for variable in VARIABLES if variable.secret}
    rest = {name: value for name, value in VALID.items() if name in hidden}
    pasted = read_environment(process=rest, root=tmp_path)
    before = read_environment(process=process, root=tmp_path / "nowhere")
    assert pasted.errors == []
    assert pasted.ignored == []
    for name in before.entries.keys() - hidden:
        assert pasted[name] == before[name], name
        assert name == "DJANGO_ENV" or before[name] is None or pasted.entries[name].source == ".env"


@pytest.mark.parametrize("name", ["dev", "test"])
def test_dev_and_tools_need_no_servers_to_start(tmp_path, name):
    """mypy, and plugins of editors, load settings.test."""
    found = read_environment(process={"DJANGO_ENV": name}, root=tmp_path)
    assert found.errors == []
    assert {urlsplit(found[name]).port for name in ("DATABASE_URL", "REDIS_URL")} == {9}


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({}, "shipshape-prod-api.example.com"),
        ({"DJANGO_ENV": "staging"}, "shipshape-staging-api.example.com"),
        ({"DJANGO_ENV": "dev"}, "shipshape-dev"),
        ({"SITE_NAME": "My  API"}, "my-api-prod-api.example.com"),
        ({"SITE_NAME": "Bücher*"}, "b%C3%BCcher%2A-prod-api.example.com"),
        ({"PUBLIC_URL": "https://API.example.com:8443/base/"}, "shipshape-prod-api.example.com:8443%2Fbase"),
        ({"REDIS_PREFIX": "mine:2"}, "mine:2"),
        ({"REDIS_PREFIX": " Mine: "}, "mine"),
    ],
)
def test_redis_prefix(tmp_path, changes, prefix):
    process = {**VALID, **changes}
    assert read_environment(process=process, root=tmp_path)["REDIS_PREFIX"] == prefix
    keys = {"SECRET_KEY": STRONG[::-1], "SECRET_KEY_FALLBACKS": STRONG, "DATABASE_URL": "postgresql://h/other"}
    for kind in ("web", "worker", "command"):
        found = read_environment(process={**process, **keys, "PROCESS_KIND": kind, "PORT": "9000"}, root=tmp_path)
        assert found["REDIS_PREFIX"] == prefix, "neither keys nor addresses nor kinds of process change it"


def test_a_redis_prefix_needs_letters(tmp_path):
    assert errors(tmp_path, REDIS_PREFIX=":-:") == [
        "REDIS_PREFIX in the process environment is invalid: write letters and digits: my-api-prod"
    ]
