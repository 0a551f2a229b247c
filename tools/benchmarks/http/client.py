"""A small HTTP client that keeps its connections busy, as a process of its own.

It reads a plan (``Plan``) as JSON from standard input and writes what it saw (``Load``) as JSON to standard output. It is pinned
to one core, so that it takes the same from the service in every run. Requests are sent as they are; of responses it reads the
status and Content-Length. It costs some 20 µs of processor time a request (``client_us`` in the figures). Where that, times the
requests a second, is near a whole core, the client was the limit.
"""

import json
import math
import os
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Any

_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The requests to send in turn, for ``seconds`` and at most ``limit`` of them."""

    port: int
    requests: list[str]
    connections: int
    seconds: float
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the client saw. Latencies are in milliseconds; ``refused`` is the first response that was not 2xx."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_us: float
    reconnects: int
    statuses: dict[str, int] = field(default_factory=dict)
    refused: str = ""


class Connection:
    """One connection, with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = b""
        self.sent_at = 0.0
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def reconnect(self) -> None:
        """Open a new socket in place of one that the server closed."""
        self.socket.close()
        self._buffer, self.socket = b"", self._connect()

    def send(self, request: bytes) -> None:
        """Send a request and start its clock."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes, bool] | None:
        """Return status, response and whether the server closes; None while a part is missing. Raise ConnectionError."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError("The server closed the connection before it had answered.")
        self._buffer += part
        head = self._buffer.find(_END)
        if head < 0:
            return None
        fields = self._buffer[:head].lower()
        place = fields.find(b"\r\ncontent-length:")
        length = int(fields[place + 17 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._buffer) < head + len(_END) + length:
            return None
        response, self._buffer = self._buffer, b""
        return int(response[9:12]), response, b"\r\nconnection: close" in fields


def drive(plan: Plan) -> Load:
    """Send the plan's requests over all connections at once, and return what was seen."""
    requests = islice(cycle([request.encode("latin-1") for request in plan.requests]), plan.limit)
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    refused, reconnects, busy = "", 0, 0
    cpu, start = time.process_time(), time.perf_counter()
    end = start + plan.seconds
    for _ in range(plan.connections):
        request = next(requests, None)
        if request is None:
            break
        connection = Connection(plan.port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(request)
        busy += 1
    while busy:
        for key, _ in selector.select(30):
            connection = key.data
            answer = connection.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            latencies.append(now - connection.sent_at)
            status, response, closes = answer
            statuses[status] += 1
            if not 200 <= status < 300 and not refused:
                refused = response[:1000].decode("latin-1")
            request = next(requests, None) if now < end else None
            if closes or request is None:
                selector.unregister(connection.socket)
            if request is None:
                busy -= 1
                continue
            if closes:
                connection.reconnect()
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                reconnects += 1
            connection.send(request)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    latencies.sort()
    return Load(
        requests=len(latencies),
        seconds=seconds,
        p50_ms=percentile(latencies, 0.50) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        client_us=cpu / max(len(latencies), 1) * 1e6,
        reconnects=reconnects,
        statuses={str(status): number for status, number in statuses.items()},
        refused=refused,
    )


def percentile(ordered: list[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; 0 without any."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def main() -> None:
    """Read a plan, follow it, and write what was seen."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    plan: dict[str, Any] = json.load(sys.stdin)
    json.dump(asdict(drive(Plan(**plan))), sys.stdout)


if __name__ == "__main__":
    main()
