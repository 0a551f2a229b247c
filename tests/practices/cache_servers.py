"""A private Valkey for tests to stop, pause and flush, and a server that accepts connections and never answers."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.caches import caches_clear
from tools.stack import Stack


def use_cache(settings: Any, url: str) -> None:
    """Point the default cache, and so the limiter, at ``url``."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": url}}


@contextmanager
def private_redis(settings: Any) -> Iterator[Any]:
    """Start a Valkey and use it as the cache; yield its service: stop(), start(), kill(), pid."""
    with Stack.temporary(("redis",)) as stack:
        use_cache(settings, stack.state.urls["REDIS_URL"])
        caches_clear()
        yield stack.servers["redis"]


@contextmanager
def black_hole(settings: Any) -> Iterator[None]:
    """Use a cache server that hangs: it accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        use_cache(settings, f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        yield
