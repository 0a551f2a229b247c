"""The parts of a section of the page. The templates draw every section in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.http import urlencode

from apps.operations.dashboard.plots import UNKNOWN, Plot, figure, measure
from apps.practices.observability.history import History
from apps.practices.observability.quantiles import Histogram

MIB = 1024**2
Points = list[float | None]


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a column. ``href`` sorts the table by it; ``is_sorted`` says that it is."""

    title: str
    is_number: bool = True
    href: str = ""
    is_sorted: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts. The first cell of a row names it. ``error`` says why the rows could not be read."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]] = ()
    empty: str = "Nothing to show."
    note: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page. ``figures`` are numbers by what they mean; ``extra`` is a template with more, and its values."""

    key: str
    title: str
    figures: Mapping[str, str] = field(default_factory=dict)
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    extra: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choices of the page's links: the range in minutes, the order of the routes, and whether plots have tables."""

    RANGES: ClassVar = {"1h": 60, "6h": 360, "24h": 1440}

    range: str = "1h"
    sort: str = "-requests"
    view: str = ""

    @classmethod
    def read(cls, query: QueryDict) -> "Choice":
        """Return the choice of a query. What is not understood counts as not given: an old link still opens the page."""
        given = str(query.get("range"))
        return cls(
            range=given if given in cls.RANGES else cls.range,
            sort=str(query.get("sort", cls.sort)),
            view="tables" if query.get("view") == "tables" else "",
        )

    @property
    def minutes(self) -> int:
        """Return the length of the range in minutes."""
        return self.RANGES[self.range]

    def link(self, **changes: str) -> str:
        """Return the query string of a link that changes something and keeps the rest."""
        values = {"range": self.range, "sort": self.sort, "view": self.view} | changes
        standard = {"range": Choice.range, "sort": Choice.sort, "view": Choice.view}
        return "?" + urlencode(
            {name: value for name, value in values.items() if value != standard[name] or name == "range"}
        )


def columns(first: str, *others: str) -> list[Column]:
    """Return columns of numbers, except for the first."""
    return [Column(title=first, is_number=False), *(Column(title=title) for title in others)]


class Plots:
    """Makes plots over the times of a history. Without the fleet's history there are none: one process has no past."""

    def __init__(self, history: History) -> None:
        self.history = history

    def __call__(self, key: str, title: str, unit: str, lines: Mapping[str, Sequence[float | None]]) -> list[Plot]:
        """Return the plot, in a list, or no plot if there is nothing to draw."""
        if not self.history.is_fleet or not any(value for points in lines.values() for value in points):
            return []
        found = self.history
        return [Plot(key=key, title=title, unit=unit, times=found.times, lines=dict(lines), releases=found.releases)]

    def rates(self, points: Sequence[float], *, seconds: float = 1.0) -> Points:
        """Return counts as events in each second, or in ``seconds``."""
        return [value / length * seconds for value, length in zip(points, self.history.seconds, strict=True)]

    def rates_by(self, name: str, label: str, **labels: str) -> dict[str, Points]:
        """Return a counter's rates a minute by the values of a label."""
        return {
            value: self.rates(points, seconds=60) for value, points in self.history.by(name, label, **labels).items()
        }

    def totals_by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return a counter's totals in the range by the values of a label, the largest first."""
        found = {value: sum(points) for value, points in self.history.by(name, label, **labels).items()}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def ms(seconds: float | None) -> str:
    """Return a duration in milliseconds."""
    return measure(None if seconds is None else seconds * 1000)


def quantile_lines(durations: Histogram) -> dict[str, Points]:
    """Return p50, p95 and p99 in milliseconds, to be drawn."""
    return {
        name: [None if value is None else value * 1000 for value in points]
        for name, points in zip(("p50", "p95", "p99"), durations.quantile_points(), strict=True)
    }


def percent(part: float, whole: float) -> str:
    """Return a share, or a dash of nothing."""
    return f"{figure(part / whole * 100)} %" if whole else UNKNOWN


def lasting(seconds: float) -> str:
    """Return a duration in its largest unit, as ``3 h``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
