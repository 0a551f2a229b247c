"""The cost of each feature: the same request with and without it, in this process, in turns.

A feature is switched off by a setting or by leaving out its middleware, or, where nobody may switch it off, by a function that
does nothing in its place. What is left of it, as the call of that function, is not counted.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from .profiling import calls_counted
from .requests import call
from .works import Work

BATCH = 20
BATCHES = 3  # in a turn
WARM = 10
ALL = "the whole request"


def costs(work: Work, *, turns: int) -> dict[str, dict[str, float]]:
    """Return microseconds of processor time and Python calls of a request by feature; ``ALL`` is the request with everything."""
    from project.handler import Application

    best: dict[str, float] = {}
    calls: dict[str, int] = {}
    for _ in range(turns):
        for name, without in {ALL: nullcontext, **_features()}.items():
            with without():
                once = _each(work, Application())
                for _ in range(WARM):
                    once()
                for _ in range(BATCHES):
                    best[name] = min(best.get(name, float("inf")), _timed(once))
                if name not in calls:
                    calls[name] = calls_counted(once)["calls"]
    whole = {"us": best.pop(ALL), "calls": calls.pop(ALL)}
    return {name: {"us": whole["us"] - best[name], "calls": whole["calls"] - calls[name]} for name in best} | {
        ALL: whole
    }


def _timed(once: Callable[[], Any]) -> float:
    started = time.process_time()
    for _ in range(BATCH):
        once()
    return (time.process_time() - started) / BATCH * 1e6


def _each(work: Work, application: Any) -> Callable[[], Any]:
    """Return a function that sends the first requests of a work in turn: few, so that every variant sends the same."""
    requests = work.requests[:BATCH]
    numbers = iter(range(10**9))
    return lambda: call(requests[next(numbers) % len(requests)], application)


def _features() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return by feature what switches it off."""
    from django.test.utils import override_settings

    from apps.accounts import authentication
    from apps.practices.observability import access

    token, user = authentication.AccessToken, authentication.session_user
    return {
        "limits": partial(override_settings, THROTTLING_POLICIES={}),
        "token": lambda: patch.object(token, "read", cache(token.read)),
        "session check": lambda: patch.object(authentication, "session_user", _same(user)),
        "headers": _without("headers.middleware.HeadersMiddleware", "SecurityMiddleware"),
        "CSP": _without("PolicyMiddleware"),
        "CORS": _without("OriginMiddleware"),
        "ETag": _without("ConditionalMiddleware"),
        "log line": lambda: patch.object(access, "info_write", lambda *_, **__: None),
        "metrics": lambda: patch.object(access.metrics, "request_observe", lambda **_: None),
    }


def _same(user: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that answers each session's first call again and again."""
    found: dict[Any, Any] = {}

    def session_user(*, session_id: Any, **more: Any) -> Any:
        if session_id not in found:
            found[session_id] = user(session_id=session_id, **more)
        return found[session_id]

    return session_user


def _without(*ends: str) -> Callable[[], AbstractContextManager[Any]]:
    from django.conf import settings
    from django.test.utils import override_settings

    return lambda: override_settings(MIDDLEWARE=[path for path in settings.MIDDLEWARE if not path.endswith(ends)])
