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


def figures_of(page: str, section: str) -> dict[str, float]:
    """Return the figures of a section by their names, without units."""
    part = page[page.index(f'<section id="{section}"') :].partition("</dl>")[0]
    found = re.findall(r"<dt>(.*?)</dt><dd>([\d.,]+).*?</dd>", part)
    return {name: float(value.replace(",", "")) for name, value in found}
