"""The measures of alerts, as data: each kind is an expression for Prometheus and is read here from the same metrics.

Counts and histograms are read over the last minutes of the fleet's history: the current one, which is not over, and those before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Protocol

import apps.operations.dashboard.certificate  # noqa: F401 - registers its gauge, in workers too
from apps.practices.mechanisms.metrics import REQUESTS
from apps.practices.mechanisms.metrics_process import Process, series_read
from apps.practices.mechanisms.metrics_store import FleetUnavailable
from apps.practices.observability import gauges, history
from apps.practices.observability.history import History

Values = Mapping[str, float]  # by the value of the label that ``by`` names, or by ""
RECENT = 10  # minutes: no measure looks further back
_ERRORS = {"http_response_status_code": "5.."}


class Facts:
    """The metrics at one moment. ``recent`` has none of a single process: they are not of the last minutes."""

    def __init__(self, found: History | None = None) -> None:
        """Take the metrics of this moment. ``found`` is a history with steps of a minute that was read just now."""
        self.history = found or history_now(RECENT)
        self._recent: dict[int, History] = {}  # by minutes: cut once, and not for each alert
        self._gauges: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for metric in gauges.Gauges().collect():
            for sample in metric.samples:
                self._gauges.setdefault(sample.name, []).append((sample.labels, sample.value))
        for name, labels, value in _of_processes(self.history.processes):
            self._gauges.setdefault(name, []).append((labels, value))
        scope = "fleet" if self.history.is_fleet else "process"
        self._gauges["shipshape_metrics_scope"] = [({"scope": scope}, 1.0)]

    def recent(self, minutes: int) -> History | None:
        """Return the history of the last minutes, at least two."""
        found = self.history
        if not found.is_fleet:
            return None
        if minutes not in self._recent:
            series = {name: {key: row[-minutes:] for key, row in rows.items()} for name, rows in found.series.items()}
            self._recent[minutes] = replace(
                found, times=found.times[-minutes:], seconds=found.seconds[-minutes:], series=series
            )
        return self._recent[minutes]

    def gauge(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[Mapping[str, str], float]]:
        """Yield the samples of a gauge that have these labels."""
        for found, value in self._gauges.get(name, ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                yield found, value


def history_now(minutes: int) -> History:
    """Return the fleet's history, or this process's numbers if Redis does not answer."""
    try:
        return history.history(minutes)
    except FleetUnavailable:
        return history.local()


def _of_processes(processes: Iterable[Process]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for process in processes:
        for written, value in process.gauges.items():
            name, labels = series_read(written)
            yield name, labels, value


class Measure(Protocol):
    """A number, or one for each value of a label."""

    def promql(self, comparison: str) -> str:
        """Return the condition in Prometheus's language; ``comparison`` is such as ``> 5``."""

    def read(self, facts: Facts) -> Values:
        """Return the values; none if they are unknown."""


@dataclass(frozen=True)
class Counted:
    """How many events a counter has counted in the last minutes."""

    name: str
    _: KW_ONLY
    minutes: int
    by: str = ""

    def promql(self, comparison: str) -> str:
        return f"sum{_by(self.by)}(increase({self.name}[{self.minutes}m])) {comparison}"

    def read(self, facts: Facts) -> Values:
        recent = facts.recent(self.minutes)
        if recent is None:
            return {}
        if not self.by:
            return {"": recent.total(self.name)}
        return {value: sum(points) for value, points in recent.by(self.name, self.by).items()}


@dataclass(frozen=True, kw_only=True)
class FailedShare:
    """The share of requests with a 5xx status, from 0 to 1, if there were at least ``least`` requests in the last minutes."""

    minutes: int
    least: int

    def promql(self, comparison: str) -> str:
        failed = f"sum(rate({REQUESTS}_count{_braces(_matchers(_ERRORS, '=~'))}[{self.minutes}m]))"
        whole = f"sum(rate({REQUESTS}_count[{self.minutes}m]))"
        return f"{failed} / {whole} {comparison}{_enough(self.minutes, self.least)}"

    def read(self, facts: Facts) -> Values:
        recent = facts.recent(self.minutes)
        classes = {name: sum(points) for name, points in recent.requests_by_class().items()} if recent else {}
        whole = sum(classes.values())
        return {"": classes.get("5xx", 0.0) / whole} if whole and whole >= self.least else {}


@dataclass(frozen=True, kw_only=True)
class Slowness:
    """A quantile of the duration of requests in seconds, if there were at least ``least`` requests in the last minutes."""

    q: float
    minutes: int
    least: int

    def promql(self, comparison: str) -> str:
        buckets = f"sum by (le) (rate({REQUESTS}_bucket[{self.minutes}m]))"
        return f"histogram_quantile({self.q}, {buckets}) {comparison}{_enough(self.minutes, self.least)}"

    def read(self, facts: Facts) -> Values:
        recent = facts.recent(self.minutes)
        if recent is None or sum(recent.counts(REQUESTS)) < self.least:
            return {}
        value = recent.histogram(REQUESTS).quantiles([self.q])[0]
        return {} if value is None else {"": value}


@dataclass(frozen=True)
class Gauge:
    """The ``how`` (max, min or sum) of a gauge's samples at this moment. ``of`` divides it by the max of another gauge."""

    name: str
    _: KW_ONLY
    how: str = "max"
    by: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    except_for: Mapping[str, str] = field(default_factory=dict)
    of: str = ""

    def promql(self, comparison: str) -> str:
        chosen = [*_matchers(self.labels, "="), *_matchers(self.except_for, "!=")]
        value = f"{self.how}{_by(self.by)}({self.name}{_braces(chosen)})"
        return f"{value} / max({self.of}) {comparison}" if self.of else f"{value} {comparison}"

    def read(self, facts: Facts) -> Values:
        groups: dict[str, list[float]] = {}
        for labels, value in facts.gauge(self.name, self.labels):
            if any(labels.get(label) == unwanted for label, unwanted in self.except_for.items()):
                continue
            groups.setdefault(labels.get(self.by, "") if self.by else "", []).append(value)
        whole = max((value for _, value in facts.gauge(self.of, {})), default=0.0) if self.of else 1.0
        return {subject: _HOW[self.how](values) / whole for subject, values in groups.items() if whole}


_HOW: Mapping[str, Callable[[list[float]], float]] = {"max": max, "min": min, "sum": sum}


def _by(label: str) -> str:
    return f" by ({label}) " if label else ""


def _matchers(labels: Mapping[str, str], operator: str) -> list[str]:
    return [f'{label}{operator}"{value}"' for label, value in labels.items()]


def _braces(matchers: Sequence[str]) -> str:
    return f"{{{','.join(matchers)}}}" if matchers else ""


def _enough(minutes: int, least: int) -> str:
    return f" and sum(increase({REQUESTS}_count[{minutes}m])) >= {least}"
