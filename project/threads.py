"""gunicorn's threaded worker, with bounds on how long a client can hold a thread or the main loop.

gunicorn 27 gives a new connection to a thread, which waits up to 5 seconds for its first byte, then reads and writes without a
bound. The main loop waits up to 2 seconds for each client to close its side of a finished connection. Here a thread takes a
connection once it has sent something, a ``ClientSocket`` reads and writes it, and a finished one waits in the poller. The main
loop accepts and closes connections, and the processes of an instance share them evenly.
"""

import contextlib
import json
import math
import re
import selectors
import socket
import time
from collections import deque
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers import gthread

from apps.practices.validation.clients import (
    ANSWER_SECONDS,
    BODY_SECONDS,
    HEAD_SECONDS,
    ClientSocket,
    reader_slots,
    sender_slots,
)
from project.shares import WAIT_SECONDS, Share
from project.waiting import Threads, Waiting

LINGER_SECONDS = (
    2.0  # waiting for a client to close its side, so that it gets all of its response (RFC 9112, section 9.6)
)
LINGERING = 200  # connections that linger at the same time
EXPIRY_SECONDS = 0.1  # at least, between two looks at the time of waiting connections


class Worker(gthread.ThreadWorker):
    """gthread with bounds: at most a quarter of the threads waits for slow senders, and half of them for slow readers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: Waiting
        self.expires_at = 0.0  # when the time of waiting connections is looked at next
        self.senders, self.readers = sender_slots(self.cfg.threads), reader_slots(self.cfg.threads)
        self.lingering: deque[tuple[float, Any]] = deque()
        self.share = Share()
        self.accepts_at = 0.0  # until then, new connections are left to other processes

    def init_process(self) -> None:
        # Some 25 settings are read for each request, through Config.__getattr__, which looks them up and calls a method.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self.waiting = Waiting()
        super().init_process()

    def get_thread_pool(self) -> Threads:
        return Threads(self.cfg.threads, self.serve)

    def serve(self) -> None:
        """Answer one request after the other. Runs in each thread."""
        while True:
            conn = self.waiting.take()
            try:
                is_kept = self.handle(conn)
            except BaseException:  # the thread goes on, whatever an application raises
                self.log.exception("Error in a thread")
                is_kept = False
            if not is_kept:
                self.method_queue.defer(self.finish, conn)
                continue
            self.waiting.add(conn, self.cfg.keepalive, has_more=bool(conn.parser.unreader.buf.getvalue()))
            if not self.alive:  # it may have been added after _cap_keepalive
                self.waiting.limit(time.monotonic() + gthread.STOP_KEEPALIVE_LINGER)

    def finish(self, conn: Any) -> None:
        """Close a connection after its last response. Called in the main loop."""
        self.nr_conns -= 1
        conn.close(graceful=True)

    def accept(self, listener: Any) -> None:
        """Accept a connection, or leave it to a process that has fewer. Called in the main loop."""
        before = self.nr_conns
        self.share.update(before)
        if self.share.must_wait():
            self.accepts_at = time.monotonic() + WAIT_SECONDS
            self.set_accept_enabled(False)
            return
        super().accept(listener)
        self.share.update(self.nr_conns, accepted=self.nr_conns - before)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled and time.monotonic() >= self.accepts_at)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        self.share.update(self.nr_conns)
        if not self.alive:
            timeout = min(timeout, EXPIRY_SECONDS)
        left = self.accepts_at - time.monotonic()
        super().wait_for_and_dispatch_events(min(timeout, left) if left > 0 else timeout)

    def enqueue_req(self, conn: Any) -> None:
        """Keep a new connection waiting for its first request. Called in the main loop."""
        conn.sock = ClientSocket(
            conn.sock,
            senders=self.senders,
            readers=self.readers,
            seconds=(HEAD_SECONDS, BODY_SECONDS, ANSWER_SECONDS),
        )
        conn.close = partial(self.close, conn, conn.close)
        conn.data_ready = True
        self.waiting.add(conn, HEAD_SECONDS, is_new=True)

    def handle(self, conn: Any) -> Any:
        conn.sock.begin()
        try:
            return super().handle(conn)
        finally:
            conn.sock.end()

    def handle_request(self, req: Any, conn: Any) -> Any:
        conn.sock.begin_body()
        if self.share.must_close() or len(self.waiting) >= self.max_keepalived:
            req.force_close()
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
        """Discard what a client still sends, and close the connection when the client has closed it."""
        with contextlib.suppress(BlockingIOError):
            try:
                if client.recv_now(65536):
                    return
            except ConnectionError:
                pass
            self.lingering = deque(entry for entry in self.lingering if entry[1] is not client)
            self._shut(client)

    def _cap_keepalive(self, deadline: float) -> None:
        self.waiting.limit(deadline)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections whose time is up. Called in each turn of the main loop."""
        now = time.monotonic()
        if force or now >= self.expires_at:
            self.expires_at = now + EXPIRY_SECONDS
            for conn in self.waiting.take_expired(math.inf if force else now):
                self.nr_conns -= 1
                conn.close()

    def murder_pending(self) -> None:
        """Close connections that have lingered too long. Called in each turn of the main loop."""
        while self.lingering and self.lingering[0][0] <= time.monotonic():
            self._lingered()

    def _lingered(self) -> None:
        self._shut(self.lingering.popleft()[1])

    def _shut(self, client: Any) -> None:
        self.nr_conns -= 1
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(client)
        util.close(client)


KNOWN_NAMES = 200
_LENGTH = "Content-Length"
_known: set[str] = set()  # names of headers that gunicorn has passed on
_VALUES = re.compile(r"[ \t\n\x21-\x7e\x80-\xff]*")  # gunicorn's wsgi.HEADER_VALUE_RE, and a line end


class _Held:
    """Collects what is sent, in place of a socket."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


class WholeResponse(wsgi.Response):
    """Sends the headers together with the first part of the body.

    gunicorn sends them separately. A process that dies in between leaves half a response, which no edge can request again.
    """

    sock: Any

    def should_close(self) -> bool:
        """Return whether the connection closes after the response. It does after a body that was not read to its end."""
        return self.req.body.failed or super().should_close()

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Check all values at once, and a name only when the process has not sent it before (decision 0136)."""
        values = "\n".join([value for _, value in headers])
        names = {name for name, _ in headers}
        if names <= _known and _VALUES.fullmatch(values) and values.count("\n") == len(headers) - 1:
            self.headers += headers
            for name, value in headers:
                if name == _LENGTH:
                    self.response_length = int(value)
            return
        before = len(self.headers)
        super().process_headers(headers)
        if len(self.headers) - before == len(headers) and len(_known) < KNOWN_NAMES:
            _known.update(name for name in names if name == _LENGTH or name.lower() != _LENGTH.lower())

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
    """Answer a request that cannot be parsed, as the edge does. gunicorn's own page quotes the request in ``detail``."""
    problem = {
        "type": "about:blank",
        "title": reason,
        "status": status,
        "detail": "The server answered, not the application.",
    }
    body = json.dumps(problem)
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


wsgi.Response = WholeResponse  # gunicorn has no setting for its response class,
util.write_error = write_problem  # nor for its errors
