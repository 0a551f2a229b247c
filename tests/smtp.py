"""A mail server for tests: it accepts mails, refuses them or stops responding, and keeps every byte that it received."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """Speaks as much of RFC 5321 as a client needs. ``replies`` by verb replace "250 ok"; None as a reply is silence."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, replies: Mapping[str, str | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.replies: dict[str, str | None] = {"DATA": "354 go on", "QUIT": "221 bye", **replies}
        self.commands: list[str] = []
        self.mails: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Conversation(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        self.server.connections += 1
        self._say("220 test")
        for line in self.rfile:
            command = line.decode().strip()
            self.server.commands.append(command)
            verb = command.partition(" ")[0].upper()
            self._say(self.server.replies.get(verb, "250 ok"))
            if verb == "DATA" and (self.server.replies["DATA"] or "").startswith("354"):
                self._message()
            if verb == "QUIT":
                return

    def _message(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        self.server.mails.append(b"".join(lines))
        self._say(self.server.replies.get("MESSAGE", "250 taken"))

    def _say(self, reply: str | None) -> None:
        if reply is None:
            self.server.closing.wait(60)
            return
        self.wfile.write(f"{reply}\r\n".encode())


@contextmanager
def mail_server(**replies: str | None) -> Iterator[MailServer]:
    """Run a mail server on a free port of this machine; what hangs is let go at the end."""
    server = MailServer(replies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
