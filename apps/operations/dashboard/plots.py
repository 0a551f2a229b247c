"""Line plots as SVG. The template draws them with CSS classes alone, which the content security policy and dark mode require.

Why no library draws them is in docs/decisions/0088-own-plots.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import floor, log10
from typing import Any

from apps.practices.observability.history import Release

WIDTH, HEIGHT = 1000, 100  # of the drawing, in units of its own: the page stretches it
UNKNOWN = "—"
_NICE = (1, 2, 2.5, 5, 10)

Points = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines over the same times. ``times`` are the starts of the steps, in seconds since 1970; None is a gap."""

    key: str
    title: str
    unit: str
    times: Sequence[int]
    lines: dict[str, Points]
    releases: Sequence[Release] = ()

    @cached_property
    def top(self) -> float:
        """Return the end of the scale: the next of 1, 2, 2.5 or 5 times a power of ten."""
        largest = max((value for points in self.lines.values() for value in points if value), default=0.0)
        if not largest:
            return 1.0
        power = 10.0 ** floor(log10(largest))
        return next(power * nice for nice in _NICE if power * nice >= largest * 0.999)

    @cached_property
    def drawn(self) -> list[dict[str, Any]]:
        """Return for each line its path, and what a legend says about it."""
        scale = HEIGHT / self.top
        return [
            {
                "number": number,
                "label": label,
                "path": " ".join(_path(points, scale)),
                "latest": figure(next((value for value in reversed(points) if value is not None), None)),
                "largest": figure(max((value for value in points if value is not None), default=None)),
            }
            for number, (label, points) in enumerate(self.lines.items(), start=1)
        ]

    @property
    def summary(self) -> str:
        """Return the plot in words."""
        lines = [f"{one['label']}: latest {one['latest']}, highest {one['largest']}" for one in self.drawn]
        marks = [f"release {release.name} at {moment(release.at)}" for release in self.marked]
        return f"In {self.unit}, {moment(self.times[0])} to {moment(self.times[-1])} UTC. {'; '.join(lines + marks)}."

    @property
    def marked(self) -> list[Release]:
        """Return the releases that began within the times."""
        return [release for release in self.releases if release.name and release.at >= self.times[0]]

    @property
    def marks(self) -> list[float]:
        """Return where those releases are drawn."""
        passed = max(1, self.times[-1] - self.times[0])
        return [round(min(1.0, (release.at - self.times[0]) / passed) * WIDTH, 1) for release in self.marked]

    @property
    def ends(self) -> tuple[str, str, str]:
        """Return the labels of the time axis."""
        return moment(self.times[0]), moment(self.times[len(self.times) // 2]), moment(self.times[-1])

    @property
    def scale(self) -> tuple[str, str]:
        """Return the labels of the other axis: its end and its middle."""
        return figure(self.top), figure(self.top / 2)

    @property
    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the numbers as a table, the latest first."""
        for place in range(len(self.times) - 1, -1, -1):
            yield moment(self.times[place]), [figure(points[place]) for points in self.lines.values()]


def figure(value: float | None) -> str:
    """Return a number: a whole one with all its digits, any other as ``measure`` does."""
    if value is not None and value == int(value):
        return f"{value:,.0f}"
    return measure(value)


def measure(value: float | None) -> str:
    """Return a number in three digits, less than 1 in two, or a dash."""
    if value is None:
        return UNKNOWN
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.2g}"


def moment(at: float) -> str:
    """Return the time of a day, in UTC."""
    return f"{datetime.fromtimestamp(at, tz=UTC):%H:%M}"


def _path(points: Points, scale: float) -> Iterator[str]:
    step, is_down = WIDTH / max(1, len(points) - 1), False
    for place, value in enumerate(points):
        if value is None:
            is_down = False
            continue
        at = f"{place * step:.0f} {HEIGHT - value * scale:.1f}"
        yield f"{'L' if is_down else 'M'}{at}"
        if not is_down and (place + 1 == len(points) or points[place + 1] is None):
            yield "h4"  # between two gaps: a dash, which can be seen
        is_down = True
