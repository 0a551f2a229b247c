"""Slow clients: they send or read a little at a time, and connect again when they are cut off."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.noticed import Crowd

AGAIN_SECONDS = 1.0  # until one that was cut off is back


@dataclass(frozen=True, kw_only=True)
class Slow:
    """What each connection does: send ``first``, then ``drip`` every ``every`` seconds; or read ``sip`` bytes as often.

    ``sip`` None: read all that arrives. ``stays``: do not close the connection when the server has.
    """

    first: bytes = b""
    drip: bytes = b""
    every: float = 1.0
    sip: int | None = None
    stays: bool = False


class Attack(Crowd):
    """Slow connections to a service. ``answers`` counts the first lines that came back."""

    def __init__(self, url: str, slow: Slow, *, connections: int, context: ssl.SSLContext | None = None) -> None:
        super().__init__([self._run] * connections)
        self.answers: Counter[str] = Counter()
        self._address = (urlsplit(url).hostname or "", urlsplit(url).port or 443)
        self._slow, self._context = slow, context

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError), contextlib.closing(self._connected()) as connection:
                self._hold(connection)
            self._stop.wait(AGAIN_SECONDS)

    def _connected(self) -> socket.socket:
        plain = socket.socket()
        if self._slow.sip is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(10)
        plain.connect(self._address)
        return plain if self._context is None else self._context.wrap_socket(plain, server_hostname="localhost")

    def _hold(self, connection: socket.socket) -> None:
        connection.sendall(self._slow.first)
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            due = time.monotonic() + (self._slow.every if self._slow.drip else float("inf"))
            heard = b""
            while not self._stop.is_set():
                if self._slow.sip is not None:
                    self._stop.wait(self._slow.every)
                if selector.select(max(0.0, min(0.2, due - time.monotonic()))):
                    data = connection.recv(65536 if self._slow.sip is None else self._slow.sip)
                    if data and not heard:
                        self.answers[data.split(b"\r\n", 1)[0].decode("latin-1")] += 1
                    heard += data[:1]
                    if not data and self._slow.stays:
                        self._stop.wait(10)
                    if not data:
                        return
                if time.monotonic() >= due:
                    connection.sendall(self._slow.drip)
                    due = time.monotonic() + self._slow.every
