"""Whether this process is draining. The server's signal handler sets it, readiness reads it."""

from threading import Event

_draining = Event()


def drain() -> None:
    """Mark this process as draining. It is not ready from now on."""
    _draining.set()


def is_draining() -> bool:
    """Return whether this process will stop soon."""
    return _draining.is_set()
