"""Gauges: numbers that are read from a store at the scrape, not counted by anybody.

Whichever process is asked reads them, so they are whole from any instance and need no Redis. They are at most SECONDS old,
however often and by however many they are asked for. A store that is away takes its own gauges out of the answer and nothing
else; ``shipshape_gauges_read`` says so.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Condition

from cachetools import TTLCache, cached
from prometheus_client.core import GaugeMetricFamily, Metric

from apps.practices.mechanisms.metrics import PREFIX

SECONDS = 5.0


class SourceAway(Exception):
    """The store did not answer: its gauges are unknown."""


_sources: dict[str, Callable[[], Sequence[Metric] | None]] = {}


def gauges_from(name: str, read: Callable[[], Sequence[Metric]]) -> None:
    """Add the families that ``read`` returns, made by ``gauge``, to each scrape. It raises SourceAway if it cannot read."""

    @cached(TTLCache(maxsize=1, ttl=SECONDS), condition=Condition())
    def latest() -> Sequence[Metric] | None:
        try:
            return read()
        except SourceAway:
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
        """Give every family that can be read, and for each source whether it could be."""
        told = {name: latest() for name, latest in _sources.items()}
        read = [({"source": name}, float(families is not None)) for name, families in told.items()]
        yield gauge("gauges_read", "Whether the store answered, 0 or 1.", read, labels=["source"])
        for families in told.values():
            yield from families or ()
