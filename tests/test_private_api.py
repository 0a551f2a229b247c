"""The private API of libraries that the code uses (docs/private-api.md): a test fails when an upgrade changes it."""

from __future__ import annotations

import ast
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db.backends.postgresql.base import DatabaseWrapper
from django.http import FileResponse, HttpResponse
from django.test import RequestFactory

from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "private-api.md").read_text()
SOURCES = [path for folder in ("apps", "project", "settings", "tools") for path in (ROOT / folder).rglob("*.py")]
# Documented by Django and by Python in spite of the underscore.
DOCUMENTED = {
    "_meta",
    "_state",
    "_base_manager",
    "_default_manager",
    "_db",
    "_exit",
    "_replace",
    "_asdict",
}


def parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def names_in(function: Any) -> set[str]:
    """Return the names, attributes and texts in a function's code and in the functions inside it."""
    found: set[str] = set()
    waiting = [inspect.unwrap(function).__code__]
    while waiting:
        code = waiting.pop()
        found.update(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                waiting.append(constant)
            found.update(
                one for one in (constant if isinstance(constant, tuple) else (constant,)) if isinstance(one, str)
            )
    return found


def private_names() -> dict[str, str]:
    """Return each private attribute that the code uses of an object it does not define itself, with one file that does."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES if "migrations" not in path.parts}
    own = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
                own.add(node.attr)
    return {
        node.attr: str(path.relative_to(ROOT))
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in own | DOCUMENTED
    }


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_every_private_name_is_listed() -> None:
    found = private_names()
    assert {"_request", "_WaitTimeout", "_connection_pools", "_resource_closers"} <= found.keys()
    assert {name: path for name, path in found.items() if f"{name}`" not in PAGE} == {}


def test_listed_files_exist() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
    paths = {path.strip("` ") for row in rows for path in row[3].split(",")}
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_gunicorn_worker_methods() -> None:
    from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

    assert {
        name: parameters(getattr(ThreadWorker, name))
        for name in ("init_process", "get_thread_pool", "enqueue_req", "handle", "handle_request")
    } == {
        "init_process": ["self"],
        "get_thread_pool": ["self"],
        "enqueue_req": ["self", "conn"],
        "handle": ["self", "conn"],
        "handle_request": ["self", "req", "conn"],
    }
    assert "get_thread_pool" in names_in(ThreadWorker.init_process)
    assert {"enqueue_req", "nr_conns"} <= names_in(ThreadWorker.accept)
    assert {"nr_conns", "close"} <= names_in(ThreadWorker.finish_request)
    assert "max_keepalived" in names_in(ThreadWorker.handle_request)
    assert STOP_KEEPALIVE_LINGER == 2.0


def test_gunicorn_time_limits() -> None:
    from gunicorn.workers.gthread import ThreadWorker

    assert {
        name: parameters(getattr(ThreadWorker, name))
        for name in ("_cap_keepalive", "murder_keepalived", "murder_pending")
    } == {"_cap_keepalive": ["self", "deadline"], "murder_keepalived": ["self", "force"], "murder_pending": ["self"]}
    assert {
        "_cap_keepalive",
        "murder_keepalived",
        "murder_pending",
        "poller",
        "nr_conns",
        "tpool",
        "shutdown",
    } <= names_in(ThreadWorker.run)


def test_gunicorn_settings_are_found_as_attributes() -> None:
    from gunicorn.config import Config

    settings = Config()
    vars(settings).update({name: setting.get() for name, setting in settings.settings.items()})
    assert (settings.keepalive, settings.threads) == (2, 1)
    assert "settings" in names_in(Config.__getattr__)


def test_gunicorn_accepts() -> None:
    from gunicorn.http.message import Request
    from gunicorn.workers.gthread import ThreadWorker

    assert {
        name: parameters(getattr(ThreadWorker, name))
        for name in ("accept", "set_accept_enabled", "wait_for_and_dispatch_events")
    } == {
        "accept": ["self", "listener"],
        "set_accept_enabled": ["self", "enabled"],
        "wait_for_and_dispatch_events": ["self", "timeout"],
    }
    # Each turn enables accepting again if it is off, and then waits.
    assert {"_accepting", "set_accept_enabled", "wait_for_and_dispatch_events"} <= names_in(ThreadWorker.run)
    assert "_accepting" in names_in(ThreadWorker.set_accept_enabled)
    assert "must_close" in names_in(Request.force_close) & names_in(Request.should_close)


def test_gunicorn_connections() -> None:
    from gunicorn.http.parser import Parser
    from gunicorn.http.unreader import Unreader
    from gunicorn.workers.gthread import TConn, ThreadWorker

    assert {"sock", "data_ready", "timeout", "parser"} <= names_in(TConn.__init__)
    assert parameters(TConn.close) == ["self", "graceful"]
    assert {"data_ready", "initialized"} <= names_in(ThreadWorker.handle)
    assert "unreader" in names_in(Parser.__init__)
    assert "buf" in names_in(Unreader.__init__)
    # What a connection has read of its next request, gunicorn looks at before it waits for more.
    assert {"parser", "unreader", "buf", "getvalue"} <= names_in(ThreadWorker.finish_request)


def test_gunicorn_replaced_names() -> None:
    from gunicorn import util
    from gunicorn.http import wsgi
    from gunicorn.workers.base import Worker

    from project import threads

    (original,) = threads.WholeResponse.__bases__
    assert {"send_headers", "_emit_body"} <= names_in(original.write)
    assert {"sock", "headers_sent"} <= names_in(original.send_headers)
    assert {"sock"} <= names_in(original._emit_body)
    assert parameters(original.should_close) == ["self"]
    assert (wsgi.Response, util.write_error) == (threads.WholeResponse, threads.write_problem)
    assert "Response" in names_in(wsgi.create)
    assert "write_error" in names_in(Worker.handle_error)


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "text/plain"), ("Content-Length", "12"), ("X-Name", "caf\xe9\tau lait")],
        [("content-length", "12"), ("X-Name", "a")],
        [("Connection", "close"), ("Upgrade", "websocket"), ("Transfer-Encoding", "chunked"), ("X-Name", "a")],
        [("X-Name", "")],
        [],
        [("X-Name", "a\r\nX-Other: b"), ("X-Other", "c")],
        [("X-Name", "a\nb")],
        [("X-Name", "a\0")],
        [("X-Name", "\u20ac")],
        [("X Name", "a")],
        [("X-Name\n", "a")],
        [("X-Name", 1)],
        [("Content-Length", "many")],
    ],
)
def test_gunicorn_headers_are_checked_as_by_itself(headers: list[Any]) -> None:
    from gunicorn.http import wsgi

    from project import threads

    def processed(kind: type[Any]) -> Any:
        response = kind.__new__(kind)
        response.headers, response.response_length, response.upgrade = [], None, False
        try:
            response.process_headers(headers)
        except Exception as error:  # noqa: BLE001 - compared
            return type(error)
        return response.headers, response.response_length, response.upgrade

    wsgi_response = threads.WholeResponse.__bases__[0]
    processed(threads.WholeResponse)  # its names are known from now on
    assert processed(threads.WholeResponse) == processed(wsgi_response)
    assert wsgi.HEADER_VALUE_RE.pattern == threads._VALUES.pattern.replace("\\n", "", 1)


def test_gunicorn_bodies() -> None:
    from gunicorn.http.body import Body
    from gunicorn.http.errors import ParseException
    from gunicorn.http.wsgi import default_environ

    assert issubclass(ParseException, Exception)
    assert "failed" in names_in(Body.__init__)
    assert "gunicorn.socket" in names_in(default_environ)


def test_granian_replaced_names() -> None:
    from granian import Granian, _signals
    from granian.server import mp

    assert parameters(mp._wsgi_call_wrap) == ["callback", "scope_opts", "access_log_fmt"]
    assert parameters(_signals.set_sync_signals) == []
    assert {"_wsgi_call_wrap", "set_sync_signals", "WSGIWorker"} <= names_in(Granian._spawn_wsgi_worker.__wrapped__)


class Impatient(psycopg.Connection[Any]):
    """A connection that waits a twentieth of a second for the server."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, 0.05)


def test_psycopg_waits(stack: Stack) -> None:
    connection = Impatient.connect(stack.state.urls["DATABASE_URL"], autocommit=True)
    try:
        with pytest.raises(psycopg.errors._WaitTimeout):
            connection.execute("SELECT pg_sleep(1)")
    finally:
        connection.pgconn.finish()


def test_psycopg_prepared_statements() -> None:
    from psycopg._preparing import Prepare, PrepareManager
    from psycopg._queries import PostgresQuery
    from psycopg.generators import execute

    assert {"execute", "send_query_prepared", "params", "formats"} <= names_in(
        psycopg.Cursor._maybe_prepare_gen
    ) | names_in(psycopg.Cursor._send_query_prepared)
    assert parameters(PrepareManager.get) == ["self", "query", "prepare"]
    assert {"query", "types"} <= names_in(PrepareManager.key)
    assert {"convert", "dump", "params", "formats"} <= set(dir(PostgresQuery))
    assert Prepare.YES
    assert callable(execute)


def test_django_database_backend() -> None:
    from django.db.backends.postgresql import base, features, operations

    backend = base.DatabaseWrapper
    assert isinstance(DatabaseWrapper._connection_pools, dict)
    assert "_connection_pools" in names_in(backend.pool.fget)
    assert {"pool", "getconn"} <= names_in(backend.get_new_connection)
    assert parameters(backend.get_new_connection) == ["self", "conn_params"]
    assert "_set_autocommit" in names_in(backend.set_autocommit)
    assert "create_cursor" in names_in(backend._cursor)
    # What create_cursor leaves out: only the loader of timestamps, which the backend sets for each connection.
    assert {"register_tzloader", "TIMESTAMPTZ_OID"} <= names_in(backend.create_cursor)
    assert issubclass(base.ServerBindingCursor, psycopg.Cursor)
    assert features.DatabaseFeatures.max_query_params is None, "Django bounds it now: ours is not needed any more"
    assert parameters(operations.DatabaseOperations.bulk_batch_size) == ["self", "fields", "objs"]


def test_django_queries() -> None:
    from django.db.models import Value
    from django.db.models.query import QuerySet, ValuesListIterable
    from django.db.models.sql.compiler import SQLCompiler
    from django.db.models.sql.query import Query

    assert {"select", "col_count", "get_converters"} <= names_in(SQLCompiler.results_iter)
    assert parameters(SQLCompiler.as_sql) == ["self", "with_limits", "with_col_aliases"]
    assert "selected" in names_in(Query.set_values)
    assert "results_iter" in names_in(ValuesListIterable.__iter__)
    assert "_db" in names_in(QuerySet.db.fget)
    assert parameters(Value.as_sql) == ["self", "compiler", "connection"]


def test_django_request_body() -> None:
    from django.core.handlers.wsgi import LimitedStream

    request = RequestFactory().post("/", b"", content_type="text/plain")
    request._stream = LimitedStream(io.BytesIO(b"bounded, not more"), 7)
    assert request.body == b"bounded"


def test_django_handler_resolves_in_one_method() -> None:
    assert "resolve_request" in names_in(BaseHandler._get_response)
    assert parameters(BaseHandler.resolve_request) == ["self", "request"]
    assert {"_get_response"} <= names_in(BaseHandler.load_middleware)
    assert {"request_class"} <= names_in(WSGIHandler.__call__)


def test_django_settings_are_kept_where_python_finds_them() -> None:
    assert "__dict__" in names_in(LazySettings.__getattr__)
    own = [getattr(LazySettings, name) for name in dir(LazySettings) if not name.startswith("__")]
    assert not [one for one in own if hasattr(one, "_mask_wrapped")]


def test_django_response_closers() -> None:
    file = io.BytesIO(b"streamed")
    response = HttpResponse()
    response._resource_closers += FileResponse(file)._resource_closers
    assert "_resource_closers" in names_in(HttpResponse.close)
    for closer in response._resource_closers:
        closer()
    assert file.closed


def test_django_response_header_store() -> None:
    response = HttpResponse(headers={"X-One": "1"})
    assert response.headers._store["x-one"] == ("X-One", "1")
    response.headers._store["x-two"] = ("X-Two", "2")
    assert response.headers["X-Two"] == "2"


def test_django_logs_a_response_once() -> None:
    from django.utils.log import log_response

    assert "_has_been_logged" in names_in(log_response)


def test_django_caches_the_user_on_the_request() -> None:
    from django.contrib.auth.middleware import get_user

    assert "_cached_user" in names_in(get_user)


def test_django_commands_and_validators() -> None:
    from django.contrib.admin.views.main import ERROR_FLAG
    from django.contrib.auth.password_validation import CommonPasswordValidator
    from django.db.migrations.executor import MigrationExecutor
    from django.db.models import Field

    assert "_validators" in names_in(Field.validators.func)
    assert ERROR_FLAG == "e"
    assert "password" in CommonPasswordValidator().passwords
    assert parameters(MigrationExecutor.migration_plan) == ["self", "targets", "clean_start"]


def test_rest_framework_authenticates_in_the_property_user() -> None:
    from rest_framework.request import Request

    assert parameters(Request._authenticate) == ["self"]
    assert {"_user", "_authenticate"} <= names_in(Request.user.fget)


def test_rest_framework_wrapped_request() -> None:
    from rest_framework.request import Request

    from apps.practices.mechanisms.requests import django_request

    plain = RequestFactory().get("/")
    assert django_request(Request(plain)) is plain


def test_spectacular_schemas() -> None:
    from drf_spectacular.openapi import AutoSchema

    assert parameters(AutoSchema._map_serializer) == ["self", "serializer", "direction", "bypass_extensions"]
    assert parameters(AutoSchema._map_serializer_field) == ["self", "field", "direction", "bypass_extensions"]
    assert parameters(AutoSchema._get_request_body) == ["self", "direction"]
    assert "_get_request_body" in names_in(AutoSchema.get_operation)


def test_csp_marks() -> None:
    from csp.decorators import csp_exempt
    from csp.middleware import CSPMiddleware

    exempted = csp_exempt()(lambda request: HttpResponse())(RequestFactory().get("/"))
    assert exempted._csp_exempt is True
    request = RequestFactory().get("/")
    CSPMiddleware(lambda _: HttpResponse()).process_request(request)
    nonce = str(request.csp_nonce)
    assert request._csp_nonce == nonce
    assert {"_csp_config", "_csp_update", "_csp_replace"} <= names_in(CSPMiddleware.get_policy_parts)
    assert "_csp_exempt" in names_in(CSPMiddleware.process_response)


def test_django_redis_pools() -> None:
    from django.core.cache import caches
    from django_redis.pool import ConnectionFactory

    from apps.practices.mechanisms.redis import GuardedConnectionFactory, GuardedPool, GuardedRedis

    client = caches["default"].client.get_client(write=True)
    assert (type(client), type(client.connection_pool)) == (GuardedRedis, GuardedPool)
    assert client.connection_pool in GuardedConnectionFactory._pools.values()
    assert client.connection_pool not in ConnectionFactory._pools.values()


def test_redis_commands_pass_one_method() -> None:
    from redis.client import Pipeline, Redis

    class Recorder(Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            passed.append(args[0])

    passed: list[str] = []
    client = Recorder()
    for call in (client.get, client.ttl, client.delete, client.ping):
        call(*(["key"] if call != client.ping else []))
    client.set("key", 1)
    client.eval("return 1", 0)
    client.evalsha("0", 0)
    client.hincrbyfloat("key", "field", 1.0)
    assert passed == ["GET", "TTL", "DEL", "PING", "SET", "EVAL", "EVALSHA", "HINCRBYFLOAT"]
    assert parameters(Pipeline.execute) == ["self", "raise_on_error"]


def test_redis_connections() -> None:
    from redis.connection import Connection

    connection = Connection()
    assert (connection._sock, connection.is_connected, connection.should_reconnect()) == (None, False, False)
    assert parameters(Connection.send_packed_command) == ["self", "command", "check_health"]


def test_simplejwt_tokens() -> None:
    from rest_framework_simplejwt.backends import TokenBackend
    from rest_framework_simplejwt.tokens import Token

    assert {"get_token_backend", "decode", "verify"} <= names_in(Token.__init__)
    assert "token_backend" in names_in(Token.get_token_backend)
    assert parameters(TokenBackend.decode) == ["self", "token", "verify"]


def test_celery_worker_methods() -> None:
    from celery.apps import worker
    from celery.worker import WorkController

    assert "safe_say" in names_in(worker.on_SIGINT)
    assert "on_after_init" in names_in(WorkController.__init__)
    assert {"on_consumer_ready", "on_stopped"} <= names_in(WorkController.setup_instance)
    assert {"emit_banner", "install_platform_tweaks"} <= names_in(worker.Worker.on_start)
    assert "wait_for_soft_shutdown" in names_in(worker.on_cold_shutdown)
    assert parameters(WorkController.on_consumer_ready) == ["self", "consumer"]
    assert parameters(WorkController.wait_for_soft_shutdown) == ["self"]


def test_celery_requests_and_pool() -> None:
    from celery.app.task import Task
    from celery.concurrency.base import BasePool
    from celery.worker.request import Request
    from celery.worker.strategy import default

    assert callable(BasePool.maintain_pool)
    assert parameters(Request.acknowledge) == ["self"]
    assert isinstance(Request.connection_errors, property)
    assert Task.Request == "celery.worker.request:Request"
    assert {"Request", "symbol_by_name"} <= names_in(default)


def test_celery_starts_the_projects_worker() -> None:
    from apps.jobs.worker import Worker
    from project.celery import app

    assert issubclass(app.Worker, Worker)
    assert app.Worker.app is app


def test_billiard_processes() -> None:
    from billiard.compat import mem_rss
    from billiard.process import current_process

    assert 10_000 < mem_rss() < 10_000_000, "in KiB"
    assert current_process().name == "MainProcess"


def test_dotenv_parser() -> None:
    from dotenv.parser import parse_stream

    first, second = parse_stream(io.StringIO("NAME=value\nbroken line\n"))
    assert (first.key, first.value, first.error, first.original.line) == ("NAME", "value", False, 1)
    assert (second.error, second.original.line) == (True, 2)
