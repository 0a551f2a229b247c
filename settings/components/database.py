"""database (130): PostgreSQL, with a timeout on every wait.

Timeouts depend on the kind of process: web processes respond to people, workers compute, commands migrate.
"""

from typing import Any

import environ

from settings.env import ENVIRONMENT
from settings.urls import is_local

_KIND: str = ENVIRONMENT["PROCESS_KIND"]

# Seconds, by kind of process; 0 means none. The server ends statements, waits for locks, and idle transactions.
_BOUNDS = {
    "web": {"statement_timeout": 5, "lock_timeout": 2, "idle_in_transaction_session_timeout": 10},
    "worker": {"statement_timeout": 300, "lock_timeout": 10, "idle_in_transaction_session_timeout": 120},
    "command": {"statement_timeout": 0, "lock_timeout": 30, "idle_in_transaction_session_timeout": 0},
}[_KIND]
# A worker process may be killed during a long statement: the server checks this often whether the client is connected, and
# cancels the statement if not. A server on Windows cannot check, and refuses such a connection.
if _KIND == "worker":
    _BOUNDS["client_connection_check_interval"] = 1

# The client's timeout for one wait, in web processes. Nothing else notices a server that is stopped while its kernel still
# acknowledges packets.
DATABASE_WAIT_SECONDS = _BOUNDS["statement_timeout"] + 1.5
DATABASE_SUSPICIOUS_WAIT_SECONDS = 1.5  # after a failure, until the server responds

# Fewer connections than threads, so that cached responses find a thread while PostgreSQL is slow or unreachable.
_POOL = {
    "min_size": 1,
    "max_size": max(1, min(ENVIRONMENT["DATABASE_POOL_MAX"], ENVIRONMENT["WEB_THREADS"] - 1)),
    "timeout": 1,  # seconds that a request waits for a free connection before it gets a 503
    "reconnect_timeout": 0.5,  # seconds that the pool retries by itself; then requests that the breaker allows do
    "max_idle": 300,
    "max_lifetime": 1800,
}

# Compare each kept statement with what the ORM compiles, at each use. On in development and tests.
DATABASE_VERIFIES_PREPARED = False

# Concurrent searches in a web process: each may read thousands of rows, so they get half of the threads.
DATABASE_SEARCHES = max(1, ENVIRONMENT["WEB_THREADS"] // 2)


def _database(url: str, *, is_pgbouncer: bool = False) -> dict[str, Any]:
    """Return Django's settings for a server, or for the PgBouncer in front of it."""
    database: dict[str, Any] = environ.Env.db_url_config(url)
    bounds = {name: f"{seconds}s" for name, seconds in _BOUNDS.items()}
    options = {
        "application_name": f"shipshape-{_KIND}",
        # Values are sent separately, so the server's log of a failed statement does not contain them (ADR 0036).
        "server_side_binding": True,
        "connect_timeout": 2,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5_000,  # milliseconds without an acknowledgement, after which the network counts as broken
        **({"pool": {**_POOL}} if _KIND == "web" else {}),
        **database.get("OPTIONS", {}),  # the URL's options win, except over the timeouts
    }
    if _KIND == "web" and not is_pgbouncer:
        options.setdefault("prepare_threshold", 5)  # executions of a kept statement until it is prepared (ADR 0038)
    # PgBouncer refuses connections that set these, so each transaction sets them there. Of two values the server uses the last.
    if not is_pgbouncer:
        asked = [f"-c {name}={bound}" for name, bound in bounds.items()]
        options["options"] = " ".join([str(options.get("options", "")), *asked]).strip()
    if not is_local(url) and not ENVIRONMENT["ALLOW_PLAINTEXT_STORES"] and options.get("sslrootcert") != "system":
        options.setdefault("sslmode", "require")  # with sslrootcert=system, libpq itself requires verify-full
    # A server-side cursor would be on another connection by its second fetch.
    pooled = {"TRANSACTION_BOUNDS": bounds, "DISABLE_SERVER_SIDE_CURSORS": True} if is_pgbouncer else {}
    # CONN_MAX_AGE is 0 because a pool keeps the connections; Django refuses both at once.
    return {**database, "ENGINE": "apps.practices.database.backend", "CONN_MAX_AGE": 0, "OPTIONS": options, **pooled}


# Only web processes use PgBouncer: imports use temporary tables, and migrations need a session.
if ENVIRONMENT["DATABASE_PGBOUNCER"] and _KIND == "web":
    DATABASES = {"default": _database(ENVIRONMENT["DATABASE_PGBOUNCER"], is_pgbouncer=True)}
else:
    DATABASES = {"default": _database(ENVIRONMENT["DATABASE_URL"])}

# Only web processes use the replica: elsewhere current data matters more than fast reads.
DATABASE_PRIMARY_APPS = frozenset({"accounts", "admin", "auth", "contenttypes", "jobs", "sessions"})
DATABASE_REPLICA_PINNED_SECONDS = 10 if ENVIRONMENT["DATABASE_REPLICA_URL"] else 0  # twice the largest lag
DATABASE_ROUTERS = []
if ENVIRONMENT["DATABASE_REPLICA_URL"] and _KIND == "web":
    DATABASES["replica"] = _database(ENVIRONMENT["DATABASE_REPLICA_URL"])
    DATABASE_ROUTERS = ["apps.practices.database.routing.ReplicaRouter"]
