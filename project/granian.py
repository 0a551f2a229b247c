"""granian's configuration: the same application behind a server that speaks HTTP in Rust, with the limits of project/gunicorn.py.

Here is what granian leaves out: a drain before the stop, an end that runs our exit functions (granian runs no atexit handlers), a
WSGI environ without the process's environment, limits for slow clients, and no request body that can end early unnoticed.
docs/scaling.md lists the differences from gunicorn.
"""

import gc
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from granian import Granian, _signals
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import mp

from apps.practices.validation.clients import WHOLE_BYTES, Slots, Upload, reader_slots
from project.drain import asked, drain_on_sigterm
from settings.env import ENVIRONMENT

HEAD_BYTES = 16 * 1024  # of a request line and all headers, as at the edge
# Idle connections, too: longer than the proxy in front keeps one, as gunicorn's keepalive. They hold no Python thread.
HEAD_SECONDS = 95
STOP_SECONDS = 20.0  # for requests in flight, after the drain
KILL_SECONDS = 25  # counted by the main process from SIGTERM
# For the last bytes of responses, and for connections that have sent half a request, for which granian waits HEAD_SECONDS.
LINGER_SECONDS = 0.0 if ENVIRONMENT.name == "dev" else 2.0

_THREADS: int = ENVIRONMENT["WEB_THREADS"]
_active: set[object] = set()  # requests in flight
_ending = threading.Lock()


def serve() -> None:
    """Run the web instance until it is stopped. Exit with status 1 if a system check forbids it or the port is taken."""
    from django.core.checks import run_checks

    import project.wsgi  # noqa: F401 - the application is loaded once, before the fork, as with gunicorn

    for message in run_checks(tags=["https"]):
        if message.is_serious():
            _refuse(str(message))
    from django.urls import get_resolver

    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()  # as in project/gunicorn.py
    place = _place(ENVIRONMENT["BIND"], ENVIRONMENT["PORT"])
    server = Granian(
        "project.wsgi",
        **place,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=ENVIRONMENT["WEB_CONCURRENCY"],
        blocking_threads=_THREADS,
        blocking_threads_idle_timeout=600,
        backlog=512,
        backpressure=1000,  # connections of a process
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
        log_level=LogLevels[ENVIRONMENT["LOG_LEVEL"].lower()],
        log_dictconfig=_LOGGING,
    )
    # granian's own puts the process's environment, with its secrets, into each request's environ.
    vars(mp)["_wsgi_call_wrap"] = lambda application, *_: application
    try:
        server.serve(spawn_target=worker, target_loader=responder, wrap_loader=False)
    except SystemExit:
        if not server.interrupt_signal:  # a process may see the signal, and end, before the main process does
            raise
    finally:
        if "uds" in place:
            place["uds"].unlink(missing_ok=True)


# granian's lines go to the root logger, whose handler writes them in the format of all others.
_LOGGING = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"handlers": [], "propagate": False}},
}


def worker(*arguments: Any) -> None:
    """Serve in a new process. The end of the process is ours, because granian's ends without atexit handlers."""
    # Until granian sets its own: the handler of the main process, which is inherited, would lose the signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signals = _signals.set_sync_signals

    def set_sync_signals() -> Any:
        event = signals()

        def stop() -> None:
            event.set()
            _wait()
            _end()

        drain_on_sigterm(stop)
        return event

    _signals.set_sync_signals = set_sync_signals
    try:
        Granian._spawn_wsgi_worker(*arguments)
    finally:
        _end()


def _wait() -> None:
    """Wait until all responses have been sent, for at most STOP_SECONDS."""
    deadline = time.monotonic() + STOP_SECONDS
    while _active and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(max(0.0, min(LINGER_SECONDS, deadline - time.monotonic())))


def _end() -> None:
    """Send the metrics of the last second, close connections, and end the process. Called by the first of two threads."""
    from apps.operations.shutdown import process_shutdown

    _ending.acquire()  # never released: the second waits for the end
    status = 1
    try:
        status = 0 if sys.exc_info()[0] is None else 1
        process_shutdown()
    finally:
        os._exit(status)


# granian hands over "" in place of a header that has other characters than ASCII. For these that would change who is asking.
READABLE = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_COOKIE", "HTTP_AUTHORIZATION")


def responder() -> Callable[[Any, dict[str, Any]], int]:
    """Return the function that granian calls with each request, in one of WEB_THREADS threads of a process."""
    from apps.practices.mechanisms import metrics_flusher
    from project.wsgi import application

    metrics_flusher.start()
    senders, readers = reader_slots(_THREADS), reader_slots(_THREADS)
    constant: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "granian",
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": True,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }

    def respond(proto: Any, scope: dict[str, Any]) -> int:
        _active.add(proto)
        upload = None
        try:
            asked()
            environ = constant | scope
            if any(environ.get(name) == "" for name in READABLE):
                return _problem(proto, 400, "Bad Request", "A header has characters that are not ASCII.")
            if "HTTP_TRANSFER_ENCODING" in environ:
                return _problem(proto, 411, "Length Required", "Send the body with a Content-Length.")
            if length := int(environ.get("CONTENT_LENGTH", 0)):  # granian has checked that it is a number
                upload = Upload(environ["wsgi.input"].read, length=length, slots=senders)
                environ["wsgi.input"] = io.BufferedReader(upload)
            status, headers = 500, list[tuple[str, str]]()

            def start_response(line: str, fields: list[tuple[str, str]], failure: object = None) -> Any:
                nonlocal status, headers
                status, headers = int(line[:3]), fields

            response = application(environ, start_response)
            try:
                # A replayed response is a list. A stream has no content.
                content = b"".join(response) if isinstance(response, list) else getattr(response, "content", None)
                if content is None:
                    return _stream(proto, status, headers, response, readers)
                proto.response_bytes(status, headers, content)
                return status
            finally:
                if hasattr(response, "close"):
                    response.close()
        finally:
            if upload is not None:
                upload.body_received()
            _active.discard(proto)

    return respond


def _stream(proto: Any, status: int, headers: list[tuple[str, str]], response: Iterable[bytes], readers: Slots) -> int:
    """Send a streamed response. One of more than WHOLE_BYTES holds a thread while its client reads, so they are limited.

    An error after the first bytes breaks the connection.
    """
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
    if length is not None and length <= WHOLE_BYTES:
        try:
            content = b"".join(response)
        except Exception:  # noqa: BLE001 - the application has reported it
            return _problem(proto, 500, "Internal Server Error", "The response could not be completed.")
        proto.response_bytes(status, headers, content)
        return status
    if not readers.acquire(""):
        return _problem(proto, 503, "Service Unavailable", "Too many long responses are being sent. Try again.")
    try:
        proto.response_iter(status, headers, _Chunks(response))
    finally:
        readers.release("")
    return status


class _Chunks:
    """An iterator with the ``close`` that granian calls. ``respond`` closes the response itself."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.__next__ = iter(chunks).__next__

    def close(self) -> None:
        """Do nothing."""


def _problem(proto: Any, status: int, title: str, detail: str) -> int:
    """Answer without the application, as gunicorn does if it cannot read a request. The edge replaces the answer with its own."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    proto.response_bytes(status, headers, body)
    return status


def _place(bind: str, port: int) -> dict[str, Any]:
    """Return granian's arguments for BIND and PORT, after it has made sure that nobody listens there.

    granian sets SO_REUSEPORT: two instances on one port would share it without an error.
    """
    if bind.startswith("unix:"):
        path = Path(bind.removeprefix("unix:"))
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            _refuse(f"Another process listens on {path}.")
        if path.is_socket():
            path.unlink()  # left by a process that was killed
        return {"uds": path, "uds_permissions": 0o777}
    family, _, _, _, address = socket.getaddrinfo(bind.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            _refuse(f"Cannot listen on {bind}:{port}: {error.strerror}.")
    return {"address": address[0], "port": port}


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"Cannot start granian: {reason}\n")
    raise SystemExit(1)
