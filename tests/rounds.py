"""Repetitions of a fault, and the result of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

SOAK = 5


class Rounds:
    """The repetitions of one test's fault: one, and with ``--soak`` five, each of which prints a line of figures."""

    def __init__(self, *, name: str, soak: bool, line: Callable[[str], None]) -> None:
        self.is_soak = soak
        self._name, self._line = name, line
        self._number, self._began = 0, 0.0

    def __iter__(self) -> Iterator[int]:
        for number in range(1, (SOAK if self.is_soak else 1) + 1):
            self._number, self._began = number, time.monotonic()
            yield number

    def tell(self, **figures: float) -> None:
        """Record the result of a round, with its seconds."""
        if self.is_soak:
            figures["seconds"] = time.monotonic() - self._began
            told = ", ".join(
                f"{name} {value:.2f}" if value % 1 else f"{name} {value:g}" for name, value in figures.items()
            )
            self._line(f"{self._name} {self._number}/{SOAK}: {told}")
