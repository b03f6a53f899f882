"""Markdown blocks that fill the card templates: tables, fenced code, and the name shown for a repository."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
PLACEHOLDER_OWNER = "your-name"
"""Stands for the owner of a repository that has not been pushed yet; the push writes the true name over it."""

_PLACEHOLDER = re.compile(rf"(?<![\w-]){PLACEHOLDER_OWNER}/[\w.-]*\w")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Makes a Markdown table.

    Args:
        header: Column titles.
        rows: Cells, one sequence a row; `|` and line breaks in them are escaped, `None` is left empty.

    Returns:
        The table, or an empty string where there are no rows (so that a template can leave its section out).

    Raises:
        ValueError: If a row has another number of cells than the header.
    """
    if not rows:
        return ""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"a row has {len(row)} cells and the header {len(header)}: {list(row)!r}; give one a column"
            )
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def facts_table(header: tuple[str, str], facts: Mapping[str, object]) -> str:
    """Makes a two-column table of a mapping, in its own order."""
    return table(header, list(facts.items()))


def code_block(code: str, language: str = "") -> str:
    """Fences code; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.strip()}\n{fence}"


def quoted(text: str) -> str:
    """Writes a Python string in double quotes, for code that a card shows."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown_repo_id(name: str) -> str:
    """Gives the repository name that a card's snippets load.

    Args:
        name: A Hub name (`owner/name`), or a bare name that has no owner yet.

    Returns:
        The Hub name as it is; a bare name behind `PLACEHOLDER_OWNER`.
    """
    return name if "/" in name else f"{PLACEHOLDER_OWNER}/{name}"


def fill_repo_id(card: str, repo_id: str) -> str:
    """Writes the true repository name wherever a card shows the placeholder one.

    Args:
        card: The card's whole text.
        repo_id: The repository's Hub name, `owner/name`.

    Returns:
        The card's text; a card without placeholders comes back unchanged.
    """
    return _PLACEHOLDER.sub(lambda _: repo_id, card)


def _cell(value: object) -> str:
    """Renders one table cell: figures with four decimals, text with its pipes and line breaks escaped."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if 0 < abs(value) < 1e-3 else f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|")
