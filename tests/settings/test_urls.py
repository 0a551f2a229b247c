"""URLs are checked at boot: what a client library would refuse is one error, without the value."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from settings.env import ROOT
from settings.urls import broker_url, database_url, is_local, redis_url
from tests.practices.test_environment import VALID, errors
from tools.stack.processes import process_start, process_stop, ready_wait
from tools.stack.sources import binary_find

PASSWORD = "BAb"  # what no sentence may repeat
POSTGRES = ("DATABASE_URL", "DATABASE_PGBOUNCER", "DATABASE_REPLICA_URL")
REDIS = ("REDIS_URL", "CACHE_URL", "BROKER_URL")
PLAINTEXT = {"ALLOW_PLAINTEXT_STORES": "true"}
STORES = {
    **dict.fromkeys(POSTGRES, "postgresql://{}db.internal:5432/x"),
    **dict.fromkeys(REDIS, "redis://{}cache.internal:6379/0"),
    "EMAIL_URL": "smtp+tls://{}mail.internal:587",
    "SENTRY_DSN": "https://{}sentry.example.com/1",
}


def one_error(tmp_path: Path, name: str, value: str) -> str:
    changes = {**PLAINTEXT, name: value}
    if name == "DATABASE_PGBOUNCER":
        changes["DATABASE_URL"] = "postgresql://u:p@127.0.0.1:1/none"
    [error] = errors(tmp_path, **changes)
    assert error.startswith(f"{name} in the process environment is invalid: ")
    return error


@pytest.mark.parametrize("password", ["BAb%2Fcd", "BAb%40%23%3F%25", "BAb!$&'()*+,=:-._~", "B%C3%A4b"])
@pytest.mark.parametrize("name", [name for name in STORES if name != "EMAIL_URL"])
def test_percent_encoded_passwords_are_accepted(tmp_path, name, password):
    assert errors(tmp_path, **PLAINTEXT, **{name: STORES[name].format(f"A:{password}@")}) == []


@pytest.mark.parametrize(
    "user",
    [
        "A:BAb/cd@",
        "u:12/34BAb@",
        "u:BAb#cd@",
        "u:BAb?cd@",
        "u:12?a=BAb@",
        "u:B@Ab@",
        "u:BAb%@",
        "u:BAb%zz@",
        "u:BAb[1@",
        "u:BAb]@",
        "u:BAb^cd@",
        "u@corp:12/BAb@",
        "BAb/@",
    ],
)
@pytest.mark.parametrize("name", STORES)
def test_unencoded_passwords_are_refused(tmp_path, name, user):
    error = one_error(tmp_path, name, STORES[name].format(user))
    assert "percent-encode the user and the password" in error
    assert PASSWORD not in error


@pytest.mark.parametrize("value", ["{}h:BAb/0", "{}h:99999999/0", "{}[h/0", "{}%ffBAb@h/0", "{}h/0 BAb", "{}h/%00BAb"])
@pytest.mark.parametrize("scheme", ["redis://", "postgresql://"])
def test_other_texts_are_refused(tmp_path, scheme, value):
    name = "REDIS_URL" if scheme == "redis://" else "DATABASE_URL"
    assert PASSWORD not in one_error(tmp_path, name, value.format(scheme))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("postgresql://h/x?pgbouncer=true", "DATABASE_PGBOUNCER"),
        ("postgresql://h/x?schema=public", "search_path"),
        ("postgresql://h/x?ssl=true", "sslmode=require"),
        ("postgresql://h/x?conn_max_age=600", "remove conn_max_age"),
        ("postgresql://h/x?pool=true", "remove pool"),
        ("postgresql://h/x?server_side_binding=true", "remove server_side_binding"),
        ("postgresql://h/x?sslmode=BAb", "the value of sslmode"),
        ("postgresql://h/x?sslmode=", "the value of sslmode"),
        ("postgresql://h/x?target_session_attrs=BAb", "target_session_attrs"),
        ("postgresql://h/x?sslrootcert=system&sslmode=require", "sslrootcert"),
        ("postgresql://h/x?connect_timeout=BAb", "whole number"),
        ("postgresql://h/x?keepalives_idle=1s", "whole number"),
        ("postgresql://h/x?prepare_threshold=BAb", "whole number"),
        ("postgresql://h/x?sslrootcert=/absent/BAb.pem", "does not exist"),
        ("postgresql://h/x?BAb", "name=value"),
        ("postgresql://h/x?sslmode=require&sslmode=disable", "each name once"),
        ("postgresql://h/x?service=BAb", "service"),
        ("postgresql://h", "name the database"),
        ("postgresql://h/?sslmode=require", "name the database"),
        (f"postgresql://h/{'x' * 64}", "63 bytes"),
    ],
)
@pytest.mark.parametrize("name", POSTGRES)
def test_options_that_libpq_refuses_are_named(tmp_path, name, value, says):
    error = one_error(tmp_path, name, value)
    assert says in error
    assert PASSWORD not in error


@pytest.mark.parametrize(
    "value",
    [
        "postgres://u:p@h/x?sslmode=verify-full&channel_binding=require&application_name=mine",
        "postgresql://u:p@h/x?options=endpoint%3Dep-cool&sslmode=require",
        "postgresql://u:p@h1:5432,h2:5433/x?target_session_attrs=read-write",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/x",
        "postgresql://u@h/x?connect_timeout=10&keepalives=1&prepare_threshold=5&assume_role=y",
        "postgresql://h/x?sslrootcert=system",
        "postgresql://[::1]:5432/x",
    ],
)
def test_options_that_libpq_accepts_are_accepted(value):
    assert database_url(value) == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("redis://h/0?ssl_cert_reqs=none", "remove ssl_cert_reqs"),
        ("redis://h/0?protocol=3", "remove protocol"),
        ("redis://h/0?db=1", "remove db"),
        ("redis://h/0?socket_timeout=60", "remove socket_timeout"),
        ("rediss://h/0?health_check_interval=5", "remove health_check_interval"),
        ("rediss://h/0?ssl_ca_certs=/absent/BAb.pem", "does not exist"),
        ("rediss://h/0?ssl_check_hostname=BAb", "ssl_check_hostname=true"),
        ("redis://h/first", "number of the database"),
        ("redis://h/1/2", "number of the database"),
        ("redis://u:BAb;x@h/0", "%3B"),
        ("unix://h/run/redis.sock", "unix:///path"),
        ("unix:///run/redis.sock?db=first", "unix:///path"),
        ("unix:///run/redis.sock?socket_timeout=60", "unix:///path"),
        ("redis+socket:///run/redis.sock", "unix://"),
    ],
)
@pytest.mark.parametrize("name", REDIS)
def test_options_that_redis_clients_refuse_are_named(tmp_path, name, value, says):
    error = one_error(tmp_path, name, value)
    assert says in error
    assert PASSWORD not in error


@pytest.mark.parametrize(
    "value",
    [
        "redis://h",
        "redis://:p%40%2F%3Bss@h:6379/3/",
        "rediss://u:p@h:6380/3?ssl_cert_reqs=none&ssl_check_hostname=false",
        f"rediss://u:p@h/3?ssl_ca_certs={__file__}&ssl_certfile={__file__}&ssl_keyfile={__file__}",
        "unix://u:p%40ss@/run/redis.sock?db=3",
    ],
)
def test_accepted_urls_mean_the_same_to_every_client(value):
    """redis-py (the cache, limits, metrics) and kombu (the queue): neither refuses it, both reach the same server."""
    address = redis_url(value)
    pool = redis.ConnectionPool.from_url(address, socket_timeout=1, socket_connect_timeout=1)
    one = pool.connection_class(**pool.connection_kwargs)  # what each connection is made of; it connects later
    with Connection(broker_url(address)) as broker:
        other = broker.transport.Channel._connparams(Recorded(broker))
    assert int(other["db"]) == one.db
    assert other["password"] == one.password
    if value.startswith("unix"):
        assert other["path"] == one.path
    else:
        assert (other["host"], other["port"]) == (one.host, one.port)
    if value.startswith("rediss"):
        assert int(other["ssl_cert_reqs"]) == int(one.cert_reqs)
        assert other.get("ssl_check_hostname", True) == one.check_hostname
        assert other.get("ssl_ca_certs") == one.ca_certs


class Recorded:
    """Acts as a channel before it connects, with the parameters of its class."""

    def __init__(self, connection: Connection) -> None:
        from kombu.transport.redis import Channel

        self._channel = object.__new__(Channel)
        self._channel.connection = type("Bound", (), {"client": connection, "default_port": 6379})()

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)


@pytest.fixture
def socket_server() -> Iterator[str]:
    """Return the folder of a Valkey that only listens on a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a socket's path has 107 bytes at most
        path = Path(folder) / "redis.sock"
        argv = [binary_find(server="redis").path, "--port", "0", "--unixsocket", path, "--requirepass", "p@ss/word"]
        process = process_start([*argv, "--save", "", "--dir", folder], log=Path(folder) / "log", folder=Path(folder))
        try:
            ready_wait(path.exists, process=process, name="redis", log=Path(folder) / "log", seconds=20)
            yield f"unix://:p%40ss%2Fword@{path}?db=2"
        finally:
            process_stop(process, signals=((15, 10.0),))


SOCKET = """
import django; django.setup()
from uuid import uuid4
from django.core.cache import cache
from apps.jobs.services import broker
from apps.practices.mechanisms.metrics_store import client
from project.celery import app
cache.set("a", 1); assert cache.get("a") == 1
assert client().ping()
assert broker.publish(job_id=uuid4(), queue="default")
print(broker.depth(queue="default"))
"""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EMAIL_URL", "smtp+tls://u:p@h:587/x", "no path or query"),
        ("EMAIL_URL", "smtp://u:p@h?tls=true", "no path or query"),
        ("EMAIL_URL", "smtps://u:B%C3%A4b@h", "ASCII"),
        ("EMAIL_URL", "smtps://u:p@h:BAb", "number as the port"),
        ("EMAIL_URL", "smtps://:465", "write a host"),
        ("EMAIL_URL", "filemail://", "folder"),
        ("EMAIL_URL", "dummymail://BAb", "nothing after"),
        ("SENTRY_DSN", "https://sentry.example.com/1", "https://key@host/number"),
        ("SENTRY_DSN", "https://key@sentry.example.com/BAb", "https://key@host/number"),
        ("PUBLIC_URL", "https://u:BAb@api.example.com", "without a user"),
        ("PUBLIC_URL", "https:///BAb", "write a host"),
        ("PUBLIC_URL", "https://api.example.com?BAb=1", "remove the query"),
        ("PUBLIC_URL", "https://api.example.com#BAb", "without a fragment"),
        ("ACCOUNT_URL", "https://app.example.com/#/account", "without a fragment"),
        ("CSP_REPORT_URI", "https://r.example.com/csp;script-src", "%3B"),
    ],
)
def test_other_urls_are_checked(tmp_path, name, value, says):
    error = one_error(tmp_path, name, value)
    assert says in error
    assert PASSWORD not in error


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("postgresql://localhost/x", True),
        ("postgresql://127.0.0.1:5432/x", True),
        ("postgresql:///x", True),
        ("postgresql:///x?host=/run/postgresql", True),
        ("postgresql://%2Frun%2Fpostgresql/x", True),
        ("postgresql:///x?host=db.internal", False),
        ("postgresql://localhost/x?hostaddr=10.0.0.5", False),
        ("postgresql://localhost,db.internal/x", False),
        ("postgresql:///x?service=main", False),
        ("redis://cache.internal/0", False),
        ("unix:///run/redis.sock", True),
        ("redis://[::1]:6379/0", True),
    ],
)
def test_hosts_in_the_query(value, local):
    assert is_local(value) is local


def test_remote_hosts_in_the_query_need_tls(tmp_path):
    [error] = errors(tmp_path, DATABASE_URL="postgresql:///x?host=db.internal&sslmode=disable")
    assert "turns TLS off" in error


def test_redis_on_a_socket(socket_server):
    process = {**VALID, "DJANGO_SETTINGS_MODULE": "settings.prod", "REDIS_URL": socket_server}
    ran = subprocess.run(
        [sys.executable, "-c", SOCKET], cwd=ROOT, env=process, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.strip() == "1", ran.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("EMAIL_URL", "smtp+tls://A:BAb/cd@h:587"), ("EMAIL_URL", "smtps://u:p@h:BAb")]
)
def test_malformed_urls_cause_no_traceback(name, value):
    argv = [sys.executable, "-c", "import settings.prod"]
    process = {**VALID, name: value}
    ran = subprocess.run(argv, cwd=ROOT, env=process, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert PASSWORD not in ran.stderr
