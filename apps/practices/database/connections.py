"""Connections of web processes: every wait for the server ends.

``statement_timeout`` is the server's, so a server that is stopped never applies it; TCP's own timers do not run
while the stopped server's kernel acknowledges packets. Only the client's clock is left.
"""

import select
from typing import Any

import psycopg
from django.conf import settings
from psycopg import errors
from psycopg.abc import RV, PQGen

LOOK_SECONDS = 0.1  # psycopg's own interval between looks for an interruption


class ServerStalled(psycopg.OperationalError):
    """The server has not answered within DATABASE_WAIT_SECONDS; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which no single wait for the server lasts longer than ``settings.DATABASE_WAIT_SECONDS``."""

    def wait(self, gen: PQGen[RV], interval: float = LOOK_SECONDS, timeout: float | None = None) -> RV:
        """Wait as psycopg does, at most so long; close the connection and raise ``ServerStalled`` after that.

        The connection cannot be used again: an answer to the abandoned statement might still arrive on it.
        """
        bound = settings.DATABASE_WAIT_SECONDS
        try:
            return super().wait(gen, interval, bound if timeout is None else min(timeout, bound))
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            raise ServerStalled(f"no answer from PostgreSQL within {bound} s") from error


def connection_lost(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, by a look at its socket.

    Nothing is due on an idle connection, so a readable one holds the server's farewell or its end. The rare other
    message (a setting reloaded) costs a healthy connection its place in the pool, and no request anything.
    """
    if connection.closed:
        return True
    look = select.poll()
    look.register(connection.pgconn.socket, select.POLLIN)
    return bool(look.poll(0))
