"""What a search found, as a table to read, as JSON, or as a gallery."""

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tabulate import tabulate

from nyx_hf.data_builders.schema import Row
from nyx_hf.plots import Example, Hit, gallery
from nyx_hf.search_index import SearchResult
from nyx_hf.search_queries import Query

_LEAST_TEXT = 30  # characters of a document in a table
_PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {
            "type": {"enum": ["text", "image", "video"]},
            "text": {"type": "string"},
            "width": {"type": "integer", "description": "of an image, or of a video's frames, as kept"},
            "height": {"type": "integer"},
            "frames": {"type": "integer"},
        },
    },
}
RESULTS_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["index", "documents", "model", "k", "where", "queries"],
    "additionalProperties": False,
    "properties": {
        "index": {"type": "string", "description": "the index as it was named"},
        "documents": {"type": "integer", "description": "how many it holds"},
        "model": {"type": "string", "description": "name@revision of the model"},
        "k": {"type": "integer", "minimum": 1},
        "where": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "queries": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "content", "results"],
                "additionalProperties": False,
                "properties": {
                    "id": {"type": ["string", "null"]},
                    "content": _PARTS,
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["rank", "id", "score", "content", "metadata"],
                            "additionalProperties": False,
                            "properties": {
                                "rank": {"type": "integer", "minimum": 1},
                                "id": {"type": "string"},
                                "score": {"type": "number"},
                                "content": _PARTS,
                                "metadata": {"type": "object"},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What `nyx-hf search --json` prints; pictures are told by their size."""


@dataclass(frozen=True)
class Found:
    """Queries and what was found for each.

    Attributes:
        index: The index as it was named.
        documents: How many it holds.
        model: The model, with its revision.
        k: Documents that were asked for.
        where: The filter.
        queries: The queries.
        results: What was found for each, the best first.
    """

    index: str
    documents: int
    model: str
    k: int
    where: Mapping[str, Sequence[str]]
    queries: Sequence[Query]
    results: Sequence[Sequence[SearchResult]]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values, of `RESULTS_SCHEMA`."""
        return {
            "index": self.index,
            "documents": self.documents,
            "model": self.model,
            "k": self.k,
            "where": {column: list(values) for column, values in self.where.items()},
            "queries": [
                {
                    "id": query.id,
                    "content": [_told(part) for part in query.content],
                    "results": [_result(rank, one) for rank, one in enumerate(found, start=1)],
                }
                for query, found in zip(self.queries, self.results, strict=True)
            ],
        }

    def as_text(self) -> str:
        """Gives it as a table for each query."""
        return "\n\n".join(
            _table(query, found, titled=len(self.queries) > 1)
            for query, found in zip(self.queries, self.results, strict=True)
        )

    def draw(self, path: Path) -> Path:
        """Draws queries beside what was found for them, the first documents of each.

        Args:
            path: The PNG file to write.

        Returns:
            The file.
        """
        examples = [
            Example(
                {"content": list(query.content)},
                [Hit({"content": list(one.content)}, one.score, None) for one in found],
                label=query.id or "query",
            )
            for query, found in zip(self.queries, self.results, strict=True)
        ]
        return gallery(examples, path, title=f"Found in {self.index}", hits=min(self.k, 4), tally=False)


def shown_text(content: Sequence[Row], length: int) -> str:
    """Writes a content on one line: its words in order, pictures by their kind, cut to a length."""
    words = " ".join(part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in content)
    words = " ".join(words.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _table(query: Query, found: Sequence[SearchResult], titled: bool) -> str:
    columns = list(dict.fromkeys(name for one in found for name, value in one.metadata.items() if value is not None))
    room = shutil.get_terminal_size((120, 24)).columns
    taken = 16 + max((len(one.id) for one in found), default=0)
    taken += sum(2 + max(len(name), *(len(str(one.metadata[name])) for one in found)) for name in columns)
    length = max(_LEAST_TEXT, room - taken)
    rows = [
        (
            rank,
            f"{one.score:.4f}",
            one.id,
            *(_cell(one.metadata[name]) for name in columns),
            shown_text(one.content, length),
        )
        for rank, one in enumerate(found, start=1)
    ]
    table = (
        tabulate(
            rows, ("", "score", "id", *columns, "how it begins"), disable_numparse=True, colalign=("right", "right")
        )
        if rows
        else "no document fits"
    )
    head = f"{query.id}: " if query.id else ""
    return f"{head}{shown_text(query.content, room - len(head))}\n\n{table}" if titled else table


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _result(rank: int, found: SearchResult) -> dict[str, Any]:
    content = [_told(part) for part in found.content]
    return {"rank": rank, "id": found.id, "score": found.score, "content": content, "metadata": dict(found.metadata)}


def _told(part: Row) -> dict[str, Any]:
    """Tells a part in JSON: a text as it is, a picture by its size."""
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    pictures = [part["image"]] if part["type"] == "image" else part["video"]
    width, height = _size(pictures[0])
    told = {"type": part["type"], "width": width, "height": height}
    return told if part["type"] == "image" else {**told, "frames": len(pictures)}


def _size(picture: Any) -> tuple[int, int]:
    if isinstance(picture, Image.Image):
        return picture.size
    with Image.open(io.BytesIO(picture["bytes"])) as image:
        return image.size
