"""Limits for clients that send or read slowly, since each occupies a thread of the server.

Used below Django, by the servers (``project/threads.py``, ``project/granian.py``). Imports no Django.
"""

import io
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

FREE_SECONDS = 0.02  # of waiting for a client before it counts as slow: the time of a packet or two
GRACE_SECONDS = 5.0  # of waiting before the minimum rate applies
LEAST_RATE = 16 * 1024  # bytes for each second of waiting
STALL_SECONDS = 10.0  # of waiting without progress, after which the client counts as gone
HEAD_SECONDS = 5.0  # waiting for the first byte of a connection, and for the rest of a request's head
BODY_SECONDS = 50.0  # waiting for a body; the edge's time-out is longer
ANSWER_SECONDS = 600.0  # waiting for a client to take its response
CHUNK = 64 * 1024  # bytes that are read at a time
WHOLE_BYTES = 1024 * 1024  # what an edge in front buffers for a slow client, at least

_READ, _WRITE = select.POLLIN, select.POLLOUT


class TooSlow(TimeoutError):
    """A client was slower than the minimum rate, or the server has waited for it too long in total."""


class TooManySlow(TimeoutError):
    """A client is slow while the server is waiting for the maximum number of slow clients."""


class Slots:
    """The number of slow clients that the server waits for at a time, in total and from the same address."""

    def __init__(self, most: int, *, each: int) -> None:
        self.most = most
        self.each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def acquire(self, client: str) -> bool:
        """Take a slot and return True, or return False if none is free. Clients with an empty name are not counted by name."""
        with self._lock:
            if self._taken.total() >= self.most or (client and self._taken[client] >= self.each):
                return False
            self._taken[client] += 1
            return True

    def release(self, client: str) -> None:
        """Release a slot of this client."""
        with self._lock:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


def sender_slots(threads: int) -> Slots:
    """Return the slots for slow senders of a process: a quarter of its threads, one per address."""
    return Slots(max(1, threads // 4), each=1)


def reader_slots(threads: int) -> Slots:
    """Return the slots for slow readers of a process: half of its threads, half of them per address."""
    half = max(1, threads // 2)
    return Slots(half, each=max(1, half // 2))


class Transfer:
    """One direction of one message: how long the server has waited for the client, and for how many bytes.

    Only waiting counts, not what the server does in between. After FREE_SECONDS of waiting the client needs a slot. After
    GRACE_SECONDS it must keep to LEAST_RATE. The transfer fails if nothing moves for STALL_SECONDS, and after ``seconds`` in
    any case.
    """

    def __init__(self, slots: Slots, *, seconds: float) -> None:
        self.seconds = seconds
        self.client = ""
        self.waited = 0.0
        self._bytes = 0
        self._moved_at = 0.0  # in seconds of waiting
        self._slots = slots
        self._held: str | None = None

    def wait(self, connection: socket.socket, event: int, timeout: float | None = None) -> None:
        """Wait until the connection is ready, for at most the time that is left.

        Raise TooManySlow if there is no slot, TooSlow if the client's time is up, TimeoutError after ``timeout`` seconds.
        """
        left = min(self.seconds, GRACE_SECONDS + self._bytes / LEAST_RATE, self._moved_at + STALL_SECONDS) - self.waited
        if left <= 0:
            raise TooSlow
        if self._held is None and self.waited < FREE_SECONDS:
            left = min(left, FREE_SECONDS - self.waited)
        elif self._held is None:
            if not self._slots.acquire(self.client):
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
        """Count bytes that the client has sent or read."""
        self._bytes += size
        self._moved_at = self.waited

    def end(self) -> None:
        """Release the slot. The rest of the transfer is not waited for."""
        if self._held is not None:
            self._slots.release(self._held)
            self._held = None


class ClientSocket:
    """A connected socket whose ``recv`` and ``sendall`` limit how long they wait for the client.

    The head and the body of a request are one transfer each, and so is the response. While a slow client sends its body, it can
    still get a response, so TooSlow or TooManySlow are raised. While it sends the head or reads the response, the connection
    ends (ConnectionResetError).
    """

    def __init__(
        self, connection: socket.socket, *, senders: Slots, readers: Slots, seconds: tuple[float, float, float]
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
        """Start the transfer of the next request's head."""
        self._is_body = False
        self._incoming = Transfer(self._senders, seconds=self._head_seconds)
        self._outgoing = Transfer(self._readers, seconds=self._answer_seconds)

    def begin_body(self) -> None:
        """Start the transfer of the body, which has its own time limit."""
        self._incoming.end()
        self._is_body = True
        self._incoming = Transfer(self._senders, seconds=self._body_seconds)

    def end(self) -> None:
        """Release the slots of the request and the response."""
        self._incoming.end()
        self._outgoing.end()

    def body_received(self) -> None:
        """Release the slot of the body, which has arrived."""
        self._incoming.end()

    def client_is(self, client: str) -> None:
        """Set the client of the message, so that one client cannot take all slots."""
        self._incoming.client = self._outgoing.client = client

    def hurry(self, seconds: float) -> None:
        """Limit the wait for the rest of the body to ``seconds``."""
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
        """Receive the data that has arrived; raise BlockingIOError if none has."""
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
        """Set a time limit for each ``recv`` as well. The socket itself stays non-blocking."""
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


class Upload(io.RawIOBase):
    """The body of a request, from a server whose reads wait without a limit, as granian's do.

    The edge passes on a short body once it has all of it. One of more than WHOLE_BYTES may be slow, so it needs a slot:
    TooManySlow if no slot is free.
    """

    def __init__(self, read: Callable[[int], bytes], *, length: int, slots: Slots) -> None:
        self._read = read
        self._is_long = length > WHOLE_BYTES
        self._slots = slots
        self._client = ""
        self._held: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._is_long and self._held is None:
            if not self._slots.acquire(self._client):
                raise TooManySlow
            self._held = self._client
        data = self._read(min(len(buffer), CHUNK))
        buffer[: len(data)] = data
        return len(data)

    def client_is(self, client: str) -> None:
        """Set the client of the body, so that one client cannot take all slots."""
        self._client = client

    def body_received(self) -> None:
        """Release the slot of the body, which has arrived or is not read any more."""
        self._is_long = False
        if self._held is not None:
            self._slots.release(self._held)
            self._held = None

    def hurry(self, seconds: float) -> None:
        """Do nothing: the edge limits how long a body takes."""
