"""The documents of a dataset as an index keeps them: small pictures, their modality, and the columns to filter by."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Value, concatenate_datasets

from nyx_hf.data_builders.checks import stored_image
from nyx_hf.data_builders.embedding_cache import Pair
from nyx_hf.data_builders.image_scaling import scaled
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.schema import DOC, PART_TYPES, Row

THUMBNAIL_PIXELS = 512 * 512
_FRAMES = 4  # of a video, enough to show what it is
_KEPT_BY_US = ("id", "content", "modality")
_CONTENT = Features({"content": DOC}).arrow_schema.field("content").type


@dataclass(frozen=True)
class Corpus:
    """All documents of a dataset's `corpus`.

    Attributes:
        table: Their rows, of every split that counts, one after the other.
        splits: Rows of each split, in order.
    """

    table: Dataset
    splits: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> list[str]:
        """Their ids."""
        return list(self.table["id"])

    @cached_property
    def columns(self) -> dict[str, str]:
        """What can be filtered by, with Arrow types: `modality`, `split`, and the scalar columns that there are."""
        scalars = {
            name: kind.dtype
            for name, kind in self.table.features.items()
            if isinstance(kind, Value) and name not in _KEPT_BY_US and kind.dtype in _SCALARS
        }
        return {"modality": "string", "split": "string", **scalars}

    def pairs(self, numbers: Sequence[int]) -> Iterator[Pair]:
        """Gives contents as the embedding cache reads them."""
        contents = self.table.select_columns(["content"])
        for start in range(0, len(numbers), 64):
            for row in contents.select(numbers[start : start + 64]).with_format("arrow")[:].to_pylist():
                yield row["content"], None

    def metadata(self, start: int, end: int, columns: Sequence[str], max_pixels: int) -> pa.Table:
        """Gives rows as an index keeps them.

        Args:
            start: Number of the first.
            end: Number behind the last.
            columns: The scalar columns to keep; those that there are not stay out.
            max_pixels: Pixels of an image, at most; 0 leaves images as they are.

        Returns:
            `content`, `modality` and the other columns.
        """
        rows = self.table.select(range(start, end)).with_format("arrow")[:]
        contents = [[_kept(part, max_pixels) for part in content] for content in rows["content"].to_pylist()]
        own = {
            "modality": pa.array([modality_of(content) for content in contents], pa.string()),
            "split": pa.array(self._split_names[start:end], pa.string()),
        }
        found = {**own, **{name: rows[name] for name in columns if name in rows.column_names and name != "modality"}}
        return pa.table(
            {"content": pa.array(contents, _CONTENT), **{name: found[name] for name in columns if name in found}}
        )

    @cached_property
    def _split_names(self) -> list[str]:
        return [split for split, count in self.splits.items() for _ in range(count)]


_SCALARS = ("string", "large_string", "bool", "int8", "int16", "int32", "int64", "float32", "float64")


def open_corpus(dataset: str, revision: str | None = None, splits: Sequence[str] | None = None) -> Corpus:
    """Reads a dataset's corpus.

    Args:
        dataset: A dataset folder or a Hub dataset.
        revision: The Hub's branch, tag or commit.
        splits: The splits that count; all where it is None.

    Returns:
        The documents.

    Raises:
        ValueError: If there is no such split, no document, or an id stands there twice.
    """
    tables = load_tables(dataset, ("corpus",), revision)["corpus"]
    if missing := [split for split in splits or () if split not in tables]:
        raise ValueError(f"{dataset}: there is no corpus split {missing[0]!r}; it has {', '.join(tables)}")
    chosen = {split: table for split, table in tables.items() if splits is None or split in splits}
    corpus = Corpus(
        concatenate_datasets(list(chosen.values())), {split: len(table) for split, table in chosen.items()}
    )
    if not len(corpus):
        raise ValueError(f"{dataset}: the corpus is empty: there is nothing to index")
    if repeated := [name for name, count in Counter(corpus.ids).items() if count > 1]:
        raise ValueError(
            f"{dataset}: found the id {repeated[0]!r} twice in the corpus ({', '.join(chosen)}), expected each once; "
            "name the splits to index, or rename it"
        )
    return corpus


def modality_of(content: Sequence[Mapping[str, Any]]) -> str:
    """Tells what a document is: `text`, `image`, `video`, or `mixed` where it has several of them."""
    kinds = {part["type"] for part in content}
    return next(kind for kind in PART_TYPES if kind in kinds) if len(kinds) == 1 else "mixed"


def _kept(part: Row, max_pixels: int) -> Row:
    """Makes a part's pictures small; of a video a few frames stay."""
    if part["type"] == "image":
        return {**part, "image": _small(part["image"], max_pixels)}
    if part["type"] == "video" and max_pixels:
        frames = part["video"]
        some = sorted({round(at * (len(frames) - 1) / (_FRAMES - 1)) for at in range(_FRAMES)})
        return {**part, "video": [_small(frames[at], max_pixels) for at in some]}
    return part


def _small(image: Row, max_pixels: int) -> Row:
    stored = image if image["bytes"] is not None else stored_image(image)
    return {"bytes": scaled(stored["bytes"], max_pixels) if max_pixels else stored["bytes"], "path": None}
