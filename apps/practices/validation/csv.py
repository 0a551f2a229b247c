"""CSV that a spreadsheet opens without running any of it (OWASP: CSV injection)."""

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full-width forms are triggers too


def neutralise(cell: Any) -> str:
    """Give a cell's text, with an apostrophe before it when a spreadsheet could take it for a formula.

    Numbers stay numbers: a negative one starts with a trigger and is none. None is an empty cell.
    """
    if cell is None:
        return ""
    text = str(cell)
    if isinstance(cell, (int, float, Decimal)) or not text.lstrip(" ").startswith(_TRIGGERS):
        return text
    return f"'{text}"


def csv_row(cells: Iterable[Any]) -> bytes:
    """Give one CSV line (RFC 4180, UTF-8, CRLF), every cell neutralised and quoted.

    Every cell is quoted, since a spreadsheet set to another separator would else split one into two.
    """
    line = io.StringIO(newline="")
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([neutralise(cell) for cell in cells])
    return line.getvalue().encode()
