"""Django's PostgreSQL backend, whose pooled connections never wait without bound and are never handed out dead.

Libraries that ask for the vendor still see ``postgresql``.
"""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection

from apps.practices.database.connections import BoundedConnection, connection_lost


class DatabaseWrapper(base.DatabaseWrapper):
    """Adds the connection class of the pool, and a look at each connection before it is used."""

    @property
    def pool(self) -> Any:
        """The process's pool of this alias, made at first use (so never before a fork); None when none is set."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if isinstance(options, dict):
            options.setdefault("connection_class", BoundedConnection)
        return super().pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Give a connection that the server has not closed meanwhile.

        After PostgreSQL restarts, every pooled connection is dead. Each is found by a look at its socket,
        which costs no round trip, and given back for the pool to replace, so no request pays for it.
        """
        connection: Connection[Any] = super().get_new_connection(conn_params)
        if self.pool:
            for _ in range(self.pool.max_size):
                if not connection_lost(connection):
                    break
                connection.close()
                self.pool.putconn(connection)
                connection = super().get_new_connection(conn_params)
        return connection
