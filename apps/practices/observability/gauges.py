"""Gauges: numbers that are read from a store when Prometheus scrapes, instead of being counted.

The process that is scraped reads them, so that every instance returns the same values without Redis. Values are cached for
SECONDS. If a store is unavailable, only its own gauges are missing, and ``shipshape_gauges_read`` is 0 for it.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Condition

from cachetools import TTLCache, cached
from prometheus_client.core import GaugeMetricFamily, Metric

from apps.practices.mechanisms.metrics import PREFIX

SECONDS = 5.0


class SourceUnavailable(Exception):
    """The store did not respond, so its gauges are unknown."""


_sources: dict[str, Callable[[], Sequence[Metric] | None]] = {}


def gauges_from(name: str, read: Callable[[], Sequence[Metric]]) -> None:
    """Register a function that returns metric families, made by ``gauge``, for each scrape; it may raise SourceUnavailable."""

    @cached(TTLCache(maxsize=1, ttl=SECONDS), condition=Condition())
    def latest() -> Sequence[Metric] | None:
        try:
            return read()
        except SourceUnavailable:
            return None

    _sources[name] = latest


def gauge(
    name: str, text: str, values: Iterable[tuple[dict[str, str], float]], *, labels: Sequence[str] = ()
) -> Metric:
    """Make the family ``shipshape_<name>``; label values come from a small set, as everywhere."""
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for given, value in values:
        family.add_metric([given[label] for label in labels], value)
    return family


class Gauges:
    """Collects from all sources, for a registry of prometheus_client."""

    def collect(self) -> Iterable[Metric]:
        """Yield every family that can be read, and for each source whether it could be read."""
        told = {name: latest() for name, latest in _sources.items()}
        read = [({"source": name}, float(families is not None)) for name, families in told.items()]
        yield gauge("gauges_read", "Whether the store answered, 0 or 1.", read, labels=["source"])
        for families in told.values():
            yield from families or ()
