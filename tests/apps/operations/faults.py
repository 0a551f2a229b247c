"""Faults for alerts, made by the counters and gauges that the service itself writes."""

import time
from typing import Any

from apps.operations.alerts.measures import Facts
from apps.operations.alerts.table import firing
from apps.practices.mechanisms import metrics_process, metrics_store
from apps.practices.mechanisms.metrics import request_observe
from apps.practices.observability import gauges, history


def forget_gauges() -> None:
    for latest in gauges._sources.values():
        latest.cache_clear()  # type: ignore[attr-defined]  # cachetools adds it


def fired(*, minutes_later: int = 0) -> dict[str, dict[str, float]]:
    """Return the alerts that fire and their values, now or some minutes later."""
    forget_gauges()
    facts = Facts(history.history(60, now=time.time() + 60 * minutes_later))
    return {one.alert.name: dict(one.values) for one in firing(facts)}


def requests(number: int, **values: Any) -> None:
    for each in range(number):
        request_observe(
            **{"route": "/x", "method": "GET", "status": 200, "seconds": 0.01, "request_id": str(each), **values}
        )


def process_with(**numbers: float) -> None:
    """Store the row of a web process with these gauges; a name may end in the value of the label ``dependency``."""
    found = {}
    for name, value in numbers.items():
        metric, _, dependency = name.partition("__")
        found[metrics_process.series(metric, **({"dependency": dependency} if dependency else {}))] = value
    row = metrics_process.Process("one", "web", "web-1", 7, "v1", time.time(), time.time(), found)
    metrics_store.process_write(row)
