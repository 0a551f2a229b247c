"""No parser costs more than in proportion to its input, whatever pattern a search finds (benchmarks/inputs.py)."""

from __future__ import annotations

import pytest

from benchmarks.inputs import KILOBYTE, Parser, parsers, worst

SIZE = 16 * KILOBYTE
# Milliseconds per KB, ten times what is measured on a quiet machine: a whole row of an import may be three bytes long.
MOST = {"NDJSON": 100, "CSV": 100}


@pytest.mark.parametrize("name", parsers())
def test_the_worst_input_costs_in_proportion_to_its_size(name: str) -> None:
    parser: Parser = parsers()[name]
    for _ in range(3):  # other work on the machine costs caches, and so processor time
        found = worst(parser, size=SIZE)
        is_small = found.milliseconds_per_kilobyte * found.kilobytes < 5
        if (is_small or found.growth < 3) and found.milliseconds_per_kilobyte < MOST.get(name, 10):
            return
    pytest.fail(f"{name}: {found}")


def test_a_cost_that_grows_with_the_square_is_found() -> None:
    square = Parser(
        parse=lambda text: [text.count("b", place) for place in range(len(text))], pieces=("a",), largest=SIZE
    )
    assert worst(square, size=SIZE).growth > 3
