"""The row schema of every retrieval dataset.

A dataset has four configs: `corpus` (documents), `queries`, `triplets` (which document answers which query, by id, so
that no image is stored twice) and `preview` (a flat view for the Hub's viewer).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from datasets import Features, Image, List, Value

Row = dict[str, Any]

PART_TYPES = ("text", "image", "video")
SCORES = ("_scores", "_recall_scores")
"""What follows `positive` and `negative` in the triplets' columns of scores: those of the `scorer`, and, where it is a
reranker, those of the retriever that found the documents."""
DOC = List({"type": Value("string"), "text": Value("string"), "image": Image(), "video": List(Image())})
_IDS, _SCORES = List(Value("string")), List(Value("float64"))

FEATURES: dict[str, Features] = {
    "corpus": Features({"id": Value("string"), "content": DOC}),
    "queries": Features(
        {
            "id": Value("string"),
            "content": DOC,
            "instruction": Value("string"),
            "answers": List(Value("string")),
            "options": List(Value("string")),
            "task": Value("string"),
            "source": Value("string"),
        }
    ),
    "triplets": Features(
        {
            "query_id": Value("string"),
            "positive_ids": _IDS,
            "negative_ids": _IDS,
            "positive_scores": _SCORES,
            "negative_scores": _SCORES,
            "scorer": Value("string"),
            "positive_recall_scores": _SCORES,
            "negative_recall_scores": _SCORES,
        }
    ),
    "preview": Features(
        {"query": Value("string"), "query_image": Image(), "positive": Value("string"), "positive_image": Image()}
    ),
}


class SchemaError(ValueError):
    """A row that does not fit the schema.

    Attributes:
        found: What stands in the row.
        expected: What the schema asks for.
        advice: What to do about it.
        config: The config of the row, such as `corpus`.
        split: The split of the row, such as `train`.
        row: The row's number in its split, from 0.
        row_id: The row's `id` (or `query_id`), where it has a readable one.
    """

    def __init__(self, found: str, expected: str, advice: str) -> None:
        super().__init__(found, expected, advice)
        self.found, self.expected, self.advice = found, expected, advice
        self.config: str | None = None
        self.split: str | None = None
        self.row: int | None = None
        self.row_id: str | None = None

    def at(
        self, config: str, split: str | None = None, row: int | None = None, row_id: object = None
    ) -> "SchemaError":
        """Says where it was found, and gives the error back for `raise`."""
        self.config, self.split, self.row = config, split, row
        self.row_id = row_id if isinstance(row_id, str) else None
        return self

    def __str__(self) -> str:
        place = f"{self.config or ''}{'' if self.split is None else f'/{self.split}'}"
        place += "" if self.row is None else f" row {self.row}"
        place += "" if self.row_id is None else f" (id {self.row_id!r})"
        message = f"found {self.found}, expected {self.expected}; {self.advice}"
        return f"{place}: {message}" if place else message


def matching_split(config: str, splits: Collection[str], split: str) -> str:
    """Gives the split of `corpus` or `queries` that belongs to a split of the triplets.

    Args:
        config: The config looked into, for the error.
        splits: The splits that it has.
        split: The triplets' split.

    Returns:
        The split of the same name, or the only one there is.

    Raises:
        ValueError: If there are several and none of that name.
    """
    if split in splits:
        return split
    if len(splits) == 1:
        return next(iter(splits))
    raise ValueError(
        f"found the splits {sorted(splits)} in the {config}, expected {split!r} as in the triplets, or one split for "
        f"all; add the split {split!r} to the {config}"
    )


def present_parts(content: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Drops the empty keys that Arrow gives back with every part.

    A template that asks `'image' in part` would otherwise put an image's tokens where there is only text.

    Args:
        content: Parts with all keys: `{"type": "text", "text": "a", "image": None, "video": None}`.

    Returns:
        The parts with `type` and the one key that it names: `{"type": "text", "text": "a"}`.
    """
    return [{"type": part["type"], part["type"]: part[part["type"]]} for part in content]
