"""Quantiles, estimated from the buckets of a histogram, which are not cumulated here."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache


class Histogram:
    """The events of a histogram by bucket and by step. ``bounds`` are its finite ones; empty buckets may be missing."""

    def __init__(self, rows: Mapping[str, Sequence[float]], bounds: Sequence[str], *, steps: int) -> None:
        self._rows, self._bounds, self._steps = rows, bounds, steps

    def quantiles(self, wanted: Sequence[float] = (0.5, 0.95, 0.99)) -> list[float | None]:
        """Return quantiles in seconds, in the whole range; None without events."""
        return quantiles(wanted, {bound: sum(row) for bound, row in self._rows.items()}, self._bounds)

    def quantile_points(self, wanted: Sequence[float] = (0.5, 0.95, 0.99)) -> list[list[float | None]]:
        """Return quantiles in seconds, each by step; None for a step without events."""
        if not self._rows:
            return [[None] * self._steps for _ in wanted]
        steps: Iterable[tuple[float, ...]] = zip(*self._rows.values(), strict=True)
        found = (quantiles(wanted, dict(zip(self._rows, step, strict=True)), self._bounds) for step in steps)
        return [list(points) for points in zip(*found, strict=True)]


def quantiles(wanted: Sequence[float], buckets: Mapping[str, float], bounds: Sequence[str]) -> list[float | None]:
    """Return quantiles in seconds by the counts of a histogram's buckets, or None for each if they are empty.

    As Prometheus's histogram_quantile(): linear within a bucket, and the highest finite bound for what is above it.
    """
    edges = _edges(frozenset(buckets), tuple(bounds))
    return [_quantile(q * sum(buckets.values()), buckets, edges) for q in wanted]


def _quantile(rank: float, buckets: Mapping[str, float], edges: Iterable[tuple[str, float]]) -> float | None:
    below = upto = 0.0
    for bound, edge in edges:
        number = buckets.get(bound, 0.0)
        if number and upto + number >= rank:
            return below + (edge - below) * (rank - upto) / number
        below, upto = edge, upto + number
    return below if buckets.get("+Inf") else None


@lru_cache(maxsize=256)
def _edges(found: frozenset[str], bounds: tuple[str, ...]) -> list[tuple[str, float]]:
    """Return the finite bounds in order, as written and in seconds. Another release may have counted with other ones."""
    return sorted(((bound, float(bound)) for bound in {*found, *bounds} - {"+Inf"}), key=lambda pair: pair[1])
