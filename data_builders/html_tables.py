"""Tables of data as text; those that only lay a page out are none."""

import re
from collections.abc import Sequence

from selectolax.lexbor import LexborNode
from tabulate import tabulate

from nyx_hf.data_builders.html_tags import shown_text

_LAID_OUT = "table, img, pre, h1, h2, h3, h4, h5, h6"  # no cell of data holds these
_LISTS = "ul, ol, dl"
_LONG_CELL = 600  # characters; a cell of no header row that is longer is a column of a page
_MAX_SPAN = 100


def data_table_text(table: LexborNode) -> str | None:
    """Writes a table of data as text, its caption above it.

    Args:
        table: A `table` element.

    Returns:
        The text; None for a table that only lays things out, shows images, or has one row or column.
    """
    if (table.attributes.get("role") or "") in ("presentation", "none") or _holds(table, _LAID_OUT):
        return None
    rows = table.css("tr")
    headed = bool(rows) and rows[0].css_first("th") is not None and rows[0].css_first("td") is None
    if not headed and _holds(table, _LISTS):
        return None
    cells = _without_empty(_grid(rows))
    if len(cells) < 2 or len(cells[0]) < 2:
        return None
    if not headed and max(len(cell) for row in cells for cell in row) > _LONG_CELL:
        return None
    text = table_text(cells[1:], cells[0]) if headed else table_text(cells)
    caption = table.css_first("caption")
    said = shown_text(caption) if caption is not None else ""
    return f"{said}\n{text}" if said else text


def table_text(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Writes a table as text, without the padding that would cost tokens.

    Args:
        rows: Cells by row.
        header: Titles of the columns, where there are any.

    Returns:
        Lines such as `| a | b |`, with a rule under the header.
    """
    lines = tabulate(rows, header, tablefmt="github", disable_numparse=True).split("\n")
    rule = 1 if header else 0
    lines[rule] = re.sub(r"-{3,}", "---", lines[rule])
    if not header:
        lines = lines[1:]  # the rule that would stand under it
    return "\n".join(re.sub(r" {2,}", " ", line) for line in lines)


def _holds(table: LexborNode, selector: str) -> bool:
    """Whether there is such an element in a table; the table itself, which `css_first` would find, does not count."""
    return any(child.css_first(selector) is not None for child in table.iter())


def _grid(rows: Sequence[LexborNode]) -> list[list[str]]:
    """Reads cells by row; what a wide or high cell covers is left empty, so that columns stay in line."""
    covered: dict[int, int] = {}  # by column: how many more rows a cell above reaches down
    grid = []
    for row in rows:
        cells: list[str] = []
        for cell in row.iter():
            if cell.tag not in ("th", "td"):
                continue
            _step_over(cells, covered)
            text, high = shown_text(cell), _span(cell, "rowspan")
            for column in range(_span(cell, "colspan")):
                covered[len(cells)] = high - 1
                cells.append("" if column else text)
        _step_over(cells, covered)
        grid.append(cells)
    return grid


def _step_over(cells: list[str], covered: dict[int, int]) -> None:
    while covered.get(len(cells), 0) > 0:
        covered[len(cells)] -= 1
        cells.append("")


def _span(cell: LexborNode, name: str) -> int:
    text = (cell.attributes.get(name) or "").strip()
    return min(max(int(text), 1), _MAX_SPAN) if text.isdecimal() and len(text) < 9 else 1


def _without_empty(grid: Sequence[Sequence[str]]) -> list[list[str]]:
    """Makes all rows equally long, without the rows and columns that say nothing."""
    rows = [row for row in grid if any(row)]
    width = max(map(len, rows), default=0)
    filled = [[*row, *[""] * (width - len(row))] for row in rows]
    kept = [column for column in range(width) if any(row[column] for row in filled)]
    return [[row[column] for column in kept] for row in filled]
