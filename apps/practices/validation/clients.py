"""Clients that send or read slowly. Each holds a thread of the server meanwhile, so time and number are bounded.

Used below Django, by the server's worker (``project/threads.py``), and imports nothing of it.
"""

import select
import socket
import threading
import time
from collections import Counter

FREE_SECONDS = 0.02  # of waiting for a client before it counts as slow: a packet or two on their way
GRACE_SECONDS = 5.0  # of waiting before the least rate applies
LEAST_RATE = 16 * 1024  # bytes a second of waiting
STALL_SECONDS = 10.0  # of waiting in which nothing moves: however much moved before, the client is gone

_READ, _WRITE = select.POLLIN, select.POLLOUT


class TooSlow(TimeoutError):
    """A client sent or took less than the least rate, or waiting for it took too long in all."""


class TooManySlow(TimeoutError):
    """A client turned out to be slow while as many slow ones are being waited for as may."""


class Places:
    """How many slow clients may be waited for at a time, and how many of them may be the same client's."""

    def __init__(self, most: int, *, each: int) -> None:
        self.most = most
        self.each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, client: str) -> bool:
        """Take a place and return True, or return False when there is none. An empty name is nobody's in particular."""
        with self._lock:
            if self._taken.total() >= self.most or (client and self._taken[client] >= self.each):
                return False
            self._taken[client] += 1
            return True

    def release(self, client: str) -> None:
        with self._lock:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


class Transfer:
    """One direction of one message: how long its client was waited for, for how many bytes.

    Only waiting counts, so a client is not blamed for what the server does in between. After FREE_SECONDS of it the client
    needs a place; after GRACE_SECONDS it must keep LEAST_RATE. It is given up when nothing moves for STALL_SECONDS, and after
    ``seconds`` in any case.
    """

    def __init__(self, places: Places, *, seconds: float) -> None:
        self.seconds = seconds
        self.client = ""
        self.waited = 0.0
        self._bytes = 0
        self._moved_at = 0.0  # in seconds of waiting
        self._places = places
        self._held: str | None = None

    def wait(self, connection: socket.socket, event: int, timeout: float | None = None) -> None:
        """Wait until the connection is ready, or for a part of what is allowed.

        Raises TooManySlow when there is no place, TooSlow when the client's time is up, TimeoutError after ``timeout``.
        """
        left = min(self.seconds, GRACE_SECONDS + self._bytes / LEAST_RATE, self._moved_at + STALL_SECONDS) - self.waited
        if left <= 0:
            raise TooSlow
        if self._held is None and self.waited < FREE_SECONDS:
            left = min(left, FREE_SECONDS - self.waited)
        elif self._held is None:
            if not self._places.take(self.client):
                raise TooManySlow
            self._held = self.client
        poll = select.poll()
        poll.register(connection, event)
        started = time.monotonic()
        ready = poll.poll(1000 * (left if timeout is None else min(left, timeout)) + 1)
        self.waited += time.monotonic() - started
        if not ready and timeout is not None and timeout <= left:
            raise TimeoutError

    def moved(self, size: int) -> None:
        """Count bytes that the client sent or took."""
        self._bytes += size
        self._moved_at = self.waited

    def end(self) -> None:
        """Give the place back; what follows in this transfer is not waited for."""
        if self._held is not None:
            self._places.release(self._held)
            self._held = None


class ClientSocket:
    """A connected socket whose ``recv`` and ``sendall`` wait for the client within bounds; otherwise the socket itself.

    A request's head and body are a transfer each, and so is its answer. What becomes of a client that is too slow depends
    on what it may still be told: before it has sent its head, and once it is being answered, the connection is gone
    (ConnectionResetError); while it sends its body, TooSlow or TooManySlow say why.
    """

    def __init__(
        self, connection: socket.socket, *, senders: Places, readers: Places, seconds: tuple[float, float, float]
    ) -> None:
        self._connection = connection
        self._senders, self._readers = senders, readers
        self._head_seconds, self._body_seconds, self._answer_seconds = seconds
        self._timeout: float | None = None
        connection.setblocking(False)
        self.begin()

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def begin(self) -> None:
        """Expect the next request's head."""
        self._is_body = False
        self._incoming = Transfer(self._senders, seconds=self._head_seconds)
        self._outgoing = Transfer(self._readers, seconds=self._answer_seconds)

    def begin_body(self) -> None:
        """Expect the body, which has a time of its own."""
        self._incoming.end()
        self._is_body = True
        self._incoming = Transfer(self._senders, seconds=self._body_seconds)

    def end(self) -> None:
        """Give back whatever places the message took."""
        self._incoming.end()
        self._outgoing.end()

    def body_received(self) -> None:
        """Give back the place of the body: it is there."""
        self._incoming.end()

    def client_is(self, client: str) -> None:
        """Say whose message it is, so that one client does not get all places."""
        self._incoming.client = self._outgoing.client = client

    def hurry(self, seconds: float) -> None:
        """Wait for no more than ``seconds`` for the rest of the body."""
        self._incoming.seconds = min(self._incoming.seconds, self._incoming.waited + seconds)

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                data = self._connection.recv(size, flags)
            except BlockingIOError:
                self._receivable()
            else:
                self._incoming.moved(len(data))
                return data

    def recv_now(self, size: int, flags: int = 0) -> bytes:
        """Receive what is there; raise BlockingIOError when nothing is."""
        return self._connection.recv(size, flags)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = self._connection.send(view, flags)
            except BlockingIOError:
                self._sendable()
            else:
                self._outgoing.moved(sent)
                view = view[sent:]

    def settimeout(self, seconds: float | None) -> None:
        """Bound each receipt besides. The socket itself stays non-blocking."""
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        self._timeout = None

    def _receivable(self) -> None:
        try:
            self._incoming.wait(self._connection, _READ, self._timeout)
        except (TooSlow, TooManySlow) as error:
            if self._is_body:
                raise
            raise ConnectionResetError(f"the client was slow with its request: {type(error).__name__}") from error

    def _sendable(self) -> None:
        try:
            self._outgoing.wait(self._connection, _WRITE)
        except (TooSlow, TooManySlow) as error:
            raise ConnectionResetError(f"the client was slow with its answer: {type(error).__name__}") from error
