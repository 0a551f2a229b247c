"""Django's PostgreSQL backend, whose pooled connections never wait without bound and are never handed out dead.

Libraries that ask for the vendor still see ``postgresql``.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.postgresql import base, features, operations
from psycopg import Connection
from psycopg_pool import PoolTimeout

from apps.practices.database.bounds import cursor_class
from apps.practices.database.connections import CircuitOpen, connection_class, connection_lost


class DatabaseFeatures(features.DatabaseFeatures):
    """Knows how many values a statement takes when they travel beside it; Django 5.2's own class does not."""

    max_query_params = 2**16 - 1


class DatabaseOperations(operations.DatabaseOperations):
    """Splits bulk writes and deletions so that none has more values than a statement takes."""

    def bulk_batch_size(self, fields: Sequence[Any], objs: Sequence[Any]) -> int:
        return min(len(objs), DatabaseFeatures.max_query_params // max(1, len(fields)))


class DatabaseWrapper(base.DatabaseWrapper):
    """Adds the connection class of the pool, its breaker, and a look at each connection before it is used."""

    features_class = DatabaseFeatures
    ops_class = DatabaseOperations

    @property
    def pool(self) -> Any:
        """The process's pool of this alias, made at first use (so never before a fork); None when none is set."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if isinstance(options, dict):
            is_pgbouncer = bool(self.settings_dict.get("TRANSACTION_BOUNDS"))
            options.setdefault("connection_class", connection_class(self.alias, is_pgbouncer=is_pgbouncer))
        return super().pool

    def get_connection_params(self) -> dict[str, Any]:
        """Give what psycopg connects with; TRANSACTION_BOUNDS of the database are carried by its cursors."""
        parameters: dict[str, Any] = super().get_connection_params()
        if bounds := self.settings_dict.get("TRANSACTION_BOUNDS"):
            parameters["cursor_factory"] = cursor_class(tuple(bounds.items()))
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Give a connection that the server has not closed meanwhile.

        After PostgreSQL restarts, every pooled connection is dead. Each is found by a look at its socket,
        which costs no round trip, and given back for the pool to replace, so no request pays for it.

        Raises `CircuitOpen` at once while the breaker is open, but for one caller a pause, who finds out.
        """
        if not self.pool:
            return super().get_new_connection(conn_params)
        breaker = connection_class(self.alias).breaker
        if not breaker.allows():
            raise CircuitOpen("PostgreSQL is away")
        asked_at = time.monotonic()
        try:
            for _ in range(self.pool.max_size + 1):
                connection: Connection[Any] = super().get_new_connection(conn_params)
                if not connection_lost(connection):
                    break
                connection.close()
                self.pool.putconn(connection)
        except PoolTimeout as error:
            if breaker.answered_at < asked_at:  # nobody else got an answer either: it is not our own crowd
                breaker.failed(error)
            raise
        return connection


def connections_discard() -> None:
    """Leave a parent's pools and connections to the parent: two processes on one socket read each other's answers."""
    DatabaseWrapper._connection_pools.clear()  # type: ignore[attr-defined]  # the stubs leave it out
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.connection = None


os.register_at_fork(after_in_child=connections_discard)
