"""The end of a process: what it still has for servers of others, such as Sentry, is sent within a bound."""

import time
from collections.abc import Callable
from threading import Thread

SECONDS = 2.0

_senders: list[Callable[[], None]] = []


def sent_at_the_end(send: Callable[[], None]) -> None:
    """Register a function that sends what is left, and then stops sending. It may wait for ever."""
    _senders.append(send)


def reports_send(seconds: float = SECONDS) -> None:
    """Send what is left of error reports, spans and metrics. Wait for at most so long, for all servers together."""
    until = time.monotonic() + seconds
    threads = [Thread(target=send, name="reports", daemon=True) for send in _senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
