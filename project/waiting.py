"""Connections that wait for their next request, and the threads that take them as soon as it arrives.

gunicorn's main loop waits for all connections, gives a readable one to a pool of threads, and gets it back through a pipe: two
turns of the loop for each request, in which it competes with the threads for the interpreter. Here each idle thread waits for all
connections, and the kernel wakes one thread for each that becomes readable, in this order
(docs/decisions/0134-threads-take-requests.md).
"""

import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

if sys.platform == "linux":
    _READ = select.EPOLLIN | select.EPOLLONESHOT
    _READ_OR_WRITE = _READ | select.EPOLLOUT
    _Poll = select.epoll
else:  # macOS
    _READ, _READ_OR_WRITE = select.KQ_FILTER_READ, select.KQ_FILTER_WRITE

    class _Poll:
        """What is used of ``select.epoll``."""

        def __init__(self) -> None:
            self._queue = select.kqueue()

        def register(self, number: int, kind: int) -> None:
            self._queue.control([select.kevent(number, kind, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)], 0)

        modify = register

        def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
            return [(event.ident, event.filter) for event in self._queue.control(None, most)]


class Waiting:
    """The waiting connections of a process, ``gthread.TConn``. Each method may be called in any thread."""

    def __init__(self) -> None:
        self._connections: dict[int, Any] = {}
        self._poll = _Poll()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Any, seconds: float, *, is_new: bool = False, has_more: bool = False) -> None:
        """Keep a connection waiting for ``seconds``, or only for its turn if it ``has_more`` requests, already received."""
        connection.timeout = time.monotonic() + seconds
        number = connection.sock.fileno()
        self._connections[number] = connection
        arm = self._poll.register if is_new else self._poll.modify
        arm(number, _READ_OR_WRITE if has_more else _READ)

    def take(self) -> Any:
        """Wait until a connection has something to read, and return it. No other call returns it until it is added again."""
        while True:
            for number, _ in self._poll.poll(-1, 1):
                connection = self._connections.pop(number, None)
                if connection is not None:  # otherwise its time was up at the same moment
                    return connection

    def take_expired(self, now: float) -> list[Any]:
        """Return the connections that have waited too long, by ``time.monotonic``. No other call returns them."""
        expired = [number for number, connection in list(self._connections.items()) if connection.timeout <= now]
        taken = [self._connections.pop(number, None) for number in expired]
        return [connection for connection in taken if connection is not None]

    def limit(self, deadline: float) -> None:
        """End the wait of every connection at ``deadline`` at the latest, by ``time.monotonic``."""
        for connection in list(self._connections.values()):
            connection.timeout = min(connection.timeout, deadline)


class Threads:
    """Threads that all run one function, in place of gunicorn's pool."""

    def __init__(self, number: int, function: Callable[[], None]) -> None:
        for _ in range(number):
            threading.Thread(target=function, daemon=True).start()

    def shutdown(self, *, wait: bool) -> None:
        """Do nothing: the threads end with the process, and gunicorn has waited for their requests."""
