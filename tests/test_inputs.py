"""No parser costs more than in proportion to its input, whatever pattern a search finds (tools/benchmarks/inputs.py).

A cost is compared with that of a yardstick, measured in the same run: how fast the machine is, and how busy, is in both. It is
the best of several tries, and a parser that costs too much in one round gets more rounds, since other work only adds to a cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tools.benchmarks.inputs import KILOBYTE, Clock, Parser, cost, parsers, worst

SIZE = 16 * KILOBYTE
ROUNDS = 5
# What a KB of the worst input costs, in KB that the yardstick reads (26 microseconds each on two shared cores). A parser may cost
# four times as much: more than what a busy machine adds to the best of all rounds, and less than a parser ten times as dear.
MEASURED = {
    "html": 34,
    "plain text": 2.7,
    "JSON body": 0.8,
    "JSON list in a body": 12,
    "NDJSON": 7,
    "CSV": 16,
    "NDJSON, no two rows alike": 34,
    "CSV, no two rows alike": 38,
    "CSV, all columns": 30,
    "multipart": 0.2,
    "query string": 0.3,
    "search": 10,
    "cookies": 3,
    "Accept": 3,
    "form": 2.8,
}


def too_dear(
    parser: Parser, *, measured: float, clock: Clock = time.process_time, reading: Callable[[], float] | None = None
) -> str:
    """Return what is wrong with the parser's cost in the best of some rounds; nothing where one of them is good."""
    reading = reading or yardstick
    wrong = ""
    for _ in range(ROUNDS):
        before = reading()
        found = worst(parser, size=SIZE, clock=clock)
        times = found.milliseconds_per_kilobyte / min(before, reading())
        if times > 4 * measured:
            wrong = f"{found} costs {times:.1f} times what the yardstick does, and not {measured}"
        elif found.growth > 1.5 and times > 1:  # below, it is too short to be measured
            wrong = f"{found} grows faster than its size"
        else:
            return ""
    return wrong


def yardstick() -> float:
    """Return the milliseconds that a loop of Python takes for a KB."""
    loop = Parser(parse=lambda text: sum(ord(character) for character in text), pieces=(), largest=SIZE)
    return cost(loop, "a" * SIZE) * 1000 * KILOBYTE / SIZE


@pytest.mark.parametrize("name", parsers())
def test_the_worst_input_costs_in_proportion_to_its_size(name: str) -> None:
    assert not too_dear(parsers()[name], measured=MEASURED[name])


class CountedTime:
    """A parser whose time is counted, and their clock: a text of some characters takes ``seconds`` of them."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now = 0.0
        self.parser = Parser(parse=lambda text: self._pass(seconds(len(text))), pieces=("a",), largest=SIZE)

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


MILLISECOND_A_KILOBYTE = 1e-3 / KILOBYTE


@pytest.mark.parametrize("power", [1, 2])
def test_growth_is_the_power_of_the_size(power: int) -> None:
    counted = CountedTime(lambda characters: characters**power * 1e-9)

    assert worst(counted.parser, size=SIZE, clock=counted.clock).growth == power


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (lambda characters: characters * MILLISECOND_A_KILOBYTE, ""),
        (lambda characters: characters * MILLISECOND_A_KILOBYTE * 10, "times what the yardstick does"),
        (lambda characters: characters**2 / SIZE * MILLISECOND_A_KILOBYTE, "grows faster"),
    ],
    ids=["as measured", "ten times dearer", "the square"],
)
def test_what_is_ten_times_dearer_or_grows_with_the_square_is_found(seconds: Callable[[int], float], said: str) -> None:
    counted = CountedTime(seconds)

    wrong = too_dear(counted.parser, measured=20, clock=counted.clock, reading=lambda: 0.05)

    assert said in wrong
    assert bool(wrong) == bool(said)


def test_work_on_the_same_machine_makes_no_parser_too_dear() -> None:
    """All but the last round take a hundred times as long: the machine has other work."""
    counted = CountedTime(lambda characters: characters * MILLISECOND_A_KILOBYTE * (100 if rounds < ROUNDS - 1 else 1))
    rounds = 0.0

    def reading() -> float:
        nonlocal rounds
        rounds += 0.5
        return 0.05

    assert not too_dear(counted.parser, measured=20, clock=counted.clock, reading=reading)
