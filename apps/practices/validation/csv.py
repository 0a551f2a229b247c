"""CSV without formulas that a spreadsheet would run (OWASP: CSV injection)."""

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full-width forms are triggers too


def neutralise(cell: Any) -> str:
    """Return the text of a cell, prefixed with an apostrophe if a spreadsheet could take it for a formula.

    Numbers are not changed, although a negative one starts with a trigger. None is an empty cell.
    """
    if cell is None:
        return ""
    text = str(cell)
    if isinstance(cell, (int, float, Decimal)) or not text.lstrip(" ").startswith(_TRIGGERS):
        return text
    return f"'{text}"


def csv_row(cells: Iterable[Any]) -> bytes:
    """Return one CSV line (RFC 4180, UTF-8, CRLF) with every cell neutralised and quoted.

    Without quotes, a spreadsheet that is set to another separator could split a cell in two.
    """
    line = io.StringIO(newline="")
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([neutralise(cell) for cell in cells])
    return line.getvalue().encode()
