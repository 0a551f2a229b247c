"""What the operations page says, read from its HTML."""

import re


def rows_of(page: str, caption: str) -> list[list[str]]:
    """Return the texts of a table's rows."""
    table = page[page.index(f">{caption}</h3>") :].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [
        [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]
