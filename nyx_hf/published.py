"""Figures that papers print, beside which ours are shown: `published.yaml`, transcribed table by table."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")
_PAPERS = {"nyx": "Nyx", "u-marvel": "U-MARVEL", "rzenembed": "RzenEmbed"}


@dataclass(frozen=True)
class Published:
    """A model's figures in one table of a paper.

    Attributes:
        model: The model, as the paper calls it.
        paper: Key of the paper in `nyx_hf.model_cards.citations`.
        table: The table's number.
        figures: Its figures in percent, as printed; those that the table leaves open are not there.
        own: Whether the paper itself brings the model.
    """

    model: str
    paper: str
    table: int
    figures: Mapping[str, float]
    own: bool = False

    @property
    def source(self) -> str:
        """Names the place: `Nyx, Table 2`."""
        return f"{_PAPERS.get(self.paper, self.paper)}, Table {self.table}"


def published(suite: str, part: str | None = None) -> list[Published]:
    """Gives what papers print of a suite.

    Args:
        suite: The suite's name, `mmeb-v1`.
        part: The table of its report; the suite's own name where it is None.

    Returns:
        Models in the order of the papers' tables.
    """
    wanted = (suite, part or suite)
    return [row for table in _tables() if (table["suite"], table["part"]) == wanted for row in _rows(table)]


@cache
def _tables() -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tables


def _rows(table: dict[str, Any]) -> list[Published]:
    """Reads a table by its models, whichever way it is written."""
    columns, rows = table["columns"], table["rows"]
    by_row = {name: dict(zip(columns, values, strict=True)) for name, values in rows.items()}
    if table.get("down") == "figures":
        by_row = {model: {figure: values[model] for figure, values in by_row.items()} for model in columns}
    return [
        Published(
            model,
            table["paper"],
            table["table"],
            {figure: value for figure, value in values.items() if value is not None},
            model in table.get("own", ()),
        )
        for model, values in by_row.items()
    ]
