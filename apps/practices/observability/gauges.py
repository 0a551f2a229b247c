"""Gauges: numbers that are read from a store at the scrape, not counted by anybody.

Whichever process is asked reads them, so they are whole from any instance and need no Redis. They are at most SECONDS old,
however often and by however many they are asked for. A store that is away takes its own gauges out of the answer and nothing
else; ``shipshape_gauges_read`` says so.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import monotonic

from prometheus_client.core import GaugeMetricFamily, Metric

from apps.practices.mechanisms.metrics import PREFIX

SECONDS = 5.0


class SourceAway(Exception):
    """The store did not answer: its gauges are unknown."""


class _Source:
    """What one store told last."""

    def __init__(self, read: Callable[[], Sequence[Metric]]) -> None:
        self._read = read
        self._lock = Lock()
        self._read_at = -SECONDS
        self._told: Sequence[Metric] | None = None

    def told(self) -> Sequence[Metric] | None:
        """Give its gauges, None when it is away."""
        with self._lock:
            if monotonic() - self._read_at >= SECONDS:
                try:
                    self._told = self._read()
                except SourceAway:
                    self._told = None
                self._read_at = monotonic()
            return self._told


_sources: dict[str, _Source] = {}


def gauges_from(name: str, read: Callable[[], Sequence[Metric]]) -> None:
    """Tell at each scrape what ``read`` gives: families whose names ``gauge`` made. It raises SourceAway when it cannot."""
    _sources[name] = _Source(read)


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
        told = {name: source.told() for name, source in _sources.items()}
        read = [({"source": name}, float(families is not None)) for name, families in told.items()]
        yield gauge("gauges_read", "Whether the store answered, 0 or 1.", read, labels=["source"])
        for families in told.values():
            yield from families or ()
