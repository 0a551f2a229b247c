"""database (130): PostgreSQL, with a bound on every wait.

What a process may wait for follows its kind: a web process answers people, a worker computes, a command migrates.
"""

from typing import Any

import environ

from settings.env import ENVIRONMENT
from settings.urls import is_local

_KIND: str = ENVIRONMENT["PROCESS_KIND"]

# Seconds, by kind of process; 0 is no bound. The server ends a statement, a wait for a lock, or a transaction that lies idle.
_BOUNDS = {
    "web": {"statement_timeout": 5, "lock_timeout": 2, "idle_in_transaction_session_timeout": 10},
    "worker": {"statement_timeout": 300, "lock_timeout": 10, "idle_in_transaction_session_timeout": 120},
    "command": {"statement_timeout": 0, "lock_timeout": 30, "idle_in_transaction_session_timeout": 0},
}[_KIND]
# A worker's process may be killed in a long statement: the server looks this often whether its client is still there, and
# undoes the statement of one that is gone. A server on Windows cannot look, and refuses such a connection.
if _KIND == "worker":
    _BOUNDS["client_connection_check_interval"] = 1

# The client's own bound on one wait for the server, in web processes: only this notices a server that is stopped while its
# kernel still acknowledges packets.
DATABASE_WAIT_SECONDS = _BOUNDS["statement_timeout"] + 1.5
DATABASE_SUSPICIOUS_WAIT_SECONDS = 1.5  # once it has failed to answer, until it answers again

# Fewer connections than threads: with PostgreSQL slow or away, a cached answer still finds a thread that waits for nothing.
_POOL = {
    "min_size": 1,
    "max_size": max(1, min(ENVIRONMENT["DATABASE_POOL_MAX"], ENVIRONMENT["WEB_THREADS"] - 1)),
    "timeout": 1,  # seconds a request waits for a free connection before it is told 503
    "reconnect_timeout": 0.5,  # seconds the pool tries by itself; then the next request that the breaker lets through does
    "max_idle": 300,
    "max_lifetime": 1800,
}

# Searches at a time in a web process: each may look at thousands of rows, and other reads keep the other half of the threads.
DATABASE_SEARCHES = max(1, ENVIRONMENT["WEB_THREADS"] // 2)


def _database(url: str, *, is_pgbouncer: bool = False) -> dict[str, Any]:
    """Return what Django is told of one server, or of the PgBouncer before it."""
    database: dict[str, Any] = environ.Env.db_url_config(url)
    bounds = {name: f"{seconds}s" for name, seconds in _BOUNDS.items()}
    options = {
        "application_name": f"shipshape-{_KIND}",
        # Values travel beside the statement: what the server logs of one that fails (a clash, a time-out) holds none.
        "server_side_binding": True,
        "connect_timeout": 2,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5_000,  # milliseconds that sent data may stay unacknowledged: the network is cut
        **({"pool": {**_POOL}} if _KIND == "web" else {}),
        **database.get("OPTIONS", {}),  # what the URL says wins, but for the bounds
    }
    # PgBouncer lets nobody in who asks for these: there the bounds go with each transaction. The server takes the last of
    # two values of a setting.
    if not is_pgbouncer:
        asked = [f"-c {name}={bound}" for name, bound in bounds.items()]
        options["options"] = " ".join([str(options.get("options", "")), *asked]).strip()
    if not is_local(url) and not ENVIRONMENT["ALLOW_PLAINTEXT_STORES"] and options.get("sslrootcert") != "system":
        options.setdefault("sslmode", "require")  # libpq itself asks for verify-full with the system's certificates
    # A cursor that the server keeps would be on another connection by its second fetch.
    pooled = {"TRANSACTION_BOUNDS": bounds, "DISABLE_SERVER_SIDE_CURSORS": True} if is_pgbouncer else {}
    # CONN_MAX_AGE: the pool keeps connections, where there is one; Django refuses both at once.
    return {**database, "ENGINE": "apps.practices.database.backend", "CONN_MAX_AGE": 0, "OPTIONS": options, **pooled}


# Workers are few, and imports keep temporary tables; migrations lock and build for longer than a transaction.
if ENVIRONMENT["DATABASE_PGBOUNCER"] and _KIND == "web":
    DATABASES = {"default": _database(ENVIRONMENT["DATABASE_PGBOUNCER"], is_pgbouncer=True)}
else:
    DATABASES = {"default": _database(ENVIRONMENT["DATABASE_URL"])}

# A replica serves web processes alone; elsewhere nobody would notice a slow read, but a stale one.
DATABASE_PRIMARY_APPS = frozenset({"accounts", "admin", "auth", "contenttypes", "jobs", "sessions"})
DATABASE_REPLICA_PINNED_SECONDS = (
    10 if ENVIRONMENT["DATABASE_REPLICA_URL"] else 0
)  # more than twice the lag it may have
DATABASE_ROUTERS = []
if ENVIRONMENT["DATABASE_REPLICA_URL"] and _KIND == "web":
    DATABASES["replica"] = _database(ENVIRONMENT["DATABASE_REPLICA_URL"])
    DATABASE_ROUTERS = ["apps.practices.database.routing.ReplicaRouter"]
