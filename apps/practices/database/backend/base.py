"""Django's PostgreSQL backend, with a timeout on every wait of pooled connections and no dead ones among them.

A request takes its connection from the pool without a statement and without work that gives the same result each time (ADR
0038). Its ``vendor`` is still ``postgresql``.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.postgresql import base, features, operations
from psycopg import Connection, OperationalError
from psycopg.adapt import AdaptersMap
from psycopg.types.datetime import TimestamptzLoader
from psycopg_pool import PoolTimeout

from apps.practices.database.bounds import cursor_class
from apps.practices.database.connections import CircuitOpen, breaker_of, connection_class, connection_lost
from apps.practices.database.statements import PreparingCursor
from apps.practices.mechanisms.metrics_process import process_gauge


class DatabaseFeatures(features.DatabaseFeatures):
    """Sets the limit of parameters of a statement with server-side binding, which Django 5.2 does not know."""

    max_query_params = 2**16 - 1


class DatabaseOperations(operations.DatabaseOperations):
    """Splits bulk writes and deletions so that no statement exceeds that limit."""

    def bulk_batch_size(self, fields: Sequence[Any], objs: Sequence[Any]) -> int:
        """Return how many objects fit into one statement."""
        return min(len(objs), DatabaseFeatures.max_query_params // max(1, len(fields)))


@cache
def _adapters(template: AdaptersMap) -> AdaptersMap:
    """Return Django's adapters, but psycopg's own loader of timestamps, which is written in C.

    It returns what Django's returns, since Django sets the session's time zone to the one that its own loader would set.
    """
    adapters = AdaptersMap(template)
    adapters.register_loader("timestamptz", TimestamptzLoader)
    return adapters


class DatabaseWrapper(base.DatabaseWrapper):
    """Adds the pool's connection class, its breaker, and a check of each connection before it is used."""

    features_class = DatabaseFeatures
    ops_class = DatabaseOperations

    @property
    def pool(self) -> Any:
        """Return the process's pool of this alias, created at first use and so after a fork; None without a pool."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if not options:
            return None
        if (pool := self._connection_pools.get(self.alias)) is not None:  # type: ignore[attr-defined]  # not in the stubs
            return pool
        if isinstance(options, dict):
            is_pgbouncer = bool(self.settings_dict.get("TRANSACTION_BOUNDS"))
            options.setdefault("connection_class", connection_class(self.alias, is_pgbouncer=is_pgbouncer))
        return super().pool

    def get_connection_params(self) -> dict[str, Any]:
        """Return psycopg's connection parameters. Cursors set the TRANSACTION_BOUNDS of the database."""
        if self.settings_dict["OPTIONS"].get("pool") and self.alias in self._connection_pools:  # type: ignore[attr-defined]
            return {}  # the pool connects, and was given them when it was created
        parameters: dict[str, Any] = super().get_connection_params()
        parameters["context"] = _adapters(parameters["context"])
        parameters["cursor_factory"] = PreparingCursor
        if bounds := self.settings_dict.get("TRANSACTION_BOUNDS"):
            parameters["cursor_factory"] = cursor_class(tuple(bounds.items()))
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Return a connection that the server has not closed.

        After a restart of PostgreSQL every pooled connection is dead. A poll of the socket, without a round trip, finds
        these, and the pool replaces them, so no request fails because of them.

        Raises ``CircuitOpen`` while the breaker is open, except for the one caller that probes the server.
        """
        if not self.pool:
            return super().get_new_connection(conn_params)
        return self._taken(lambda: super(DatabaseWrapper, self).get_new_connection(conn_params))

    def rows_read(self, sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]] | None:
        """Return the rows of one SELECT outside of a transaction, or None where Django's own cursor has to execute it.

        The connection is returned to the pool at once, before the response is made. So the request has none, and nothing of what
        Django does with the connection of a request is needed: state, signals, and closing it at the end.
        """
        pool = self.pool
        if pool is None or self.connection is not None or self.in_atomic_block or self._is_observed():
            return None
        if pool.closed:
            pool.open()
        with self.wrap_database_errors:
            connection = self._taken(pool.getconn)
            try:
                return connection.rows_read(sql, parameters)
            finally:
                pool.putconn(connection)

    def _is_observed(self) -> bool:
        """Return whether something looks at Django's cursors: a wrapper, the log of queries, or Sentry's breadcrumbs."""
        return bool(self.execute_wrappers or self.queries_logged or settings.OBSERVABILITY_SENTRY_DSN)

    def _taken(self, take: Callable[[], Any]) -> Any:
        """Return a connection of the pool that the server has not closed, as ``get_new_connection`` says."""
        breaker = breaker_of(self.alias)
        if not breaker.allows():
            raise CircuitOpen("PostgreSQL is unreachable")
        asked_at = time.monotonic()
        try:
            for _ in range(self.pool.max_size + 1):
                connection = take()
                if not connection_lost(connection):
                    return connection
                connection.close()
                self.pool.putconn(connection)
        except PoolTimeout as error:
            if breaker.answered_at < asked_at:  # no other request got a response either, so the pool is not merely busy
                breaker.failed(error)
            raise
        raise OperationalError("PostgreSQL closed every connection of the pool")

    def _set_autocommit(self, autocommit: bool) -> None:
        """Set it where it differs: psycopg runs a generator for that, and the pool's connections have it on."""
        if self.connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)  # type: ignore[misc]  # not in the stubs

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor. Named cursors are on the server, and outlive the statement's own transaction (``withhold``)."""
        if name is None:
            return self.connection.cursor()
        return self.connection.cursor(name, scrollable=False, withhold=self.connection.autocommit)


def connections_discard() -> None:
    """Discard the parent's pools and connections: two processes on one socket would read each other's responses."""
    DatabaseWrapper._connection_pools.clear()  # type: ignore[attr-defined]  # the stubs leave it out
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.connection = None


def pools_measure(*names: str) -> float:
    """Return a measure of this process's pools (``get_stats`` of psycopg_pool), less the others that are named."""
    pools: dict[str, Any] = DatabaseWrapper._connection_pools  # type: ignore[attr-defined]  # the stubs leave it out
    found = [pool.get_stats() for pool in list(pools.values())]
    first, *others = (sum(stats.get(name, 0) for stats in found) for name in names)
    return float(first - sum(others))


os.register_at_fork(after_in_child=connections_discard)

# Named after OpenTelemetry's metrics of database clients.
process_gauge("db_client_connection_used", lambda: pools_measure("pool_size", "pool_available"))
process_gauge("db_client_connection_max", lambda: pools_measure("pool_max"))
process_gauge("db_client_connection_pending_requests", lambda: pools_measure("requests_waiting"))
