"""gunicorn's worker of threads, in which no client holds a thread, or the loop that feeds them, for as long as it likes.

gunicorn 27 gives a new connection to a thread, which waits up to 5 seconds for its first byte; then it reads and writes
without a bound, and the main loop waits up to 2 seconds for each client that is to close its side of a finished
connection. Here a connection goes to a thread once it has sent something, is read and written through a ``ClientSocket``,
and lingers in the loop's poller.
"""

import contextlib
import json
import selectors
import socket
import time
from collections import deque
from functools import partial
from types import FrameType
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers import gthread

from apps.practices.validation.clients import ClientSocket, Places

HEAD_SECONDS = 5.0  # for a new connection's first byte, and of waiting for the rest of a request's head
BODY_SECONDS = 50.0  # of waiting for a body; the edge's own time-out is above it
ANSWER_SECONDS = 600.0  # of waiting for a client to take its answer
LINGER_SECONDS = 2.0  # for a client to close its side, so that it gets the end of its answer (RFC 9112, section 9.6)
LINGERING = 200  # at a time


class Worker(gthread.ThreadWorker):
    """gthread with bounds. A quarter of the threads waits for slow senders, half of them for slow readers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        quarter, half = max(1, self.cfg.threads // 4), max(1, self.cfg.threads // 2)
        self.senders = Places(quarter, each=1)
        self.readers = Places(half, each=max(1, half // 2))
        self.lingering: deque[tuple[float, Any]] = deque()

    def enqueue_req(self, conn: Any) -> None:
        """Give the connection to a thread, but a new one that has sent nothing yet to the poller."""
        if not conn.initialized and not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(
                conn.sock,
                senders=self.senders,
                readers=self.readers,
                seconds=(HEAD_SECONDS, BODY_SECONDS, ANSWER_SECONDS),
            )
            conn.close = partial(self.close, conn, conn.close)
            if not _has_sent(conn.sock):
                conn.timeout = time.monotonic() + HEAD_SECONDS
                self.pending_conns.append(conn)
                readable = partial(self.on_pending_socket_readable, conn)
                self.poller.register(conn.sock, selectors.EVENT_READ, readable)
                return
            conn.data_ready = True
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        conn.sock.begin()
        try:
            return super().handle(conn)
        finally:
            conn.sock.end()

    def handle_request(self, req: Any, conn: Any) -> Any:
        conn.sock.begin_body()
        return super().handle_request(req, conn)

    def close(self, conn: Any, close: Any, graceful: bool = False) -> None:
        """Close a connection without waiting for its client. Called in the main loop."""
        if not graceful:
            close()
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            util.close(conn.sock)
            return
        if len(self.lingering) >= LINGERING:
            self._lingered()
        self.nr_conns += 1  # so that a worker that stops waits for it
        self.lingering.append((time.monotonic() + LINGER_SECONDS, conn.sock))
        self.poller.register(conn.sock, selectors.EVENT_READ, self.on_lingering_readable)

    def on_lingering_readable(self, client: Any) -> None:
        """Drop what a client still sends, and close when it has closed."""
        with contextlib.suppress(BlockingIOError):
            try:
                if client.recv_now(65536):
                    return
            except ConnectionError:
                pass
            self.lingering = deque(entry for entry in self.lingering if entry[1] is not client)
            self._shut(client)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop accepting. Called in the main loop, once the drain is over.

        gunicorn limits how long it then waits for kept-alive connections, but not for those that have sent nothing.
        """
        deadline = time.monotonic() + gthread.STOP_KEEPALIVE_LINGER
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)
        super().handle_exit(sig, frame)

    def murder_pending(self) -> None:
        """Close what has waited for too long; called in each turn of the loop."""
        super().murder_pending()
        while self.lingering and self.lingering[0][0] <= time.monotonic():
            self._lingered()

    def _lingered(self) -> None:
        self._shut(self.lingering.popleft()[1])

    def _shut(self, client: Any) -> None:
        self.nr_conns -= 1
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(client)
        util.close(client)


def _has_sent(client: Any) -> bool:
    """Tell whether there is something to read, if only the end."""
    try:
        client.recv_now(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class _Held:
    """Stands in for a socket while an answer is put together."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


class WholeResponse(wsgi.Response):
    """Sends the headers together with the first part of the body.

    gunicorn sends them one after the other. A process that dies in between leaves half an answer, which no edge can ask for
    again; and the second system call is paid by every request.
    """

    sock: Any

    def should_close(self) -> bool:
        """Return whether the connection ends with the answer: also after a body of which the rest was not waited for."""
        return self.req.body.failed or super().should_close()

    def write(self, arg: bytes) -> None:
        if self.headers_sent:
            return super().write(arg)
        connection, held = self.sock, _Held()
        self.sock = held
        try:
            super().write(arg)
        finally:
            self.sock = connection
        connection.sendall(b"".join(held.parts))
        return None


def write_problem(client: Any, status: int, reason: str, detail: str) -> None:
    """Refuse as the edge does what no application will see: in gunicorn's page ``detail`` quotes the request."""
    problem = {
        "type": "about:blank",
        "title": reason,
        "status": status,
        "detail": "The server answered, not the application.",
    }
    body = json.dumps(problem)
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


wsgi.Response = WholeResponse  # gunicorn has no setting for it
util.write_error = write_problem  # nor for this
