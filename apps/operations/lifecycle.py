"""Whether this process is about to stop. The server's signal handler says so, readiness passes it on."""

from threading import Event

_draining = Event()


def drain() -> None:
    """Say that this process stops soon: from now on it is not ready."""
    _draining.set()


def is_draining() -> bool:
    """Whether this process stops soon."""
    return _draining.is_set()
