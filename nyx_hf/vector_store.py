"""What an index asks of a vector store, and no more: put documents in, take them out, find the nearest.

A store keeps, under an id each, a vector and a row of metadata. `nyx_hf.faiss_store` is the one that needs no server;
another store is a class with these methods and a line in `STORES`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

Where = Mapping[str, Sequence[Any]]
"""A filter: the values that a column may have. All its columns must agree: `{"modality": ["image", "mixed"]}`."""

STORES = {
    "faiss": ("nyx_hf.faiss_store", "FaissStore", "search"),
    "milvus": ("nyx_hf.milvus_store", "MilvusStore", "milvus"),
}
"""Kinds of stores: module and class of each, imported when asked for, and the extra that installs their packages."""


class StoreError(ValueError):
    """A store that is not there, is busy, or does not fit what is asked of it."""


@dataclass(frozen=True)
class StoreProperties:
    """What a store remembers of itself; it is written once, when the store is made.

    Attributes:
        model: The name of the model that made the vectors, never a path.
        revision: Its commit, or a hash of its files; None where it is not known.
        dims: Width of the vectors.
        settings: What vectors depend on besides the model (`Encoder.settings`).
        instruction: Put before queries that come without one; None leaves it to the model's own prompt.
        columns: Scalar columns of the metadata that can be filtered by, with their Arrow types (`string`, `int64`,
            `double`, `bool`); `modality` is always one.
        options: What this kind of store was told when it was made, such as faiss's `search`.
    """

    model: str
    revision: str | None
    dims: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    instruction: str | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: {"modality": "string"})
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown_model(self) -> str:
        """The model's name and revision in one word."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"

    def check_model(self, name: str, revision: str | None, settings: Mapping[str, Any]) -> None:
        """Refuses vectors of another model, revision or setting.

        Args:
            name: The model's name. Where both revisions are known they decide: a folder may have been renamed.
            revision: Its revision.
            settings: Its settings.

        Raises:
            StoreError: If they are not those that the store was made with.
        """
        same = name == self.model if self.revision is None or revision is None else revision == self.revision
        if not same:
            shown = name if revision is None else f"{name}@{revision}"
            raise StoreError(
                f"found the model {shown}, and the index holds vectors of {self.shown_model}: take that revision, or "
                "index the documents anew"
            )
        if dict(settings) != dict(self.settings):
            raise StoreError(
                f"found the model's settings {dict(settings)}, and the index was made with {dict(self.settings)}: set "
                "them alike, or index the documents anew"
            )


@dataclass(frozen=True)
class Batch:
    """Some documents.

    Attributes:
        ids: Their ids, strings that are not empty.
        vectors: float32 (n, dims), of length 1.
        metadata: n rows: the columns of `StoreProperties.columns`, and `content`, the document itself (a nested column
            that is kept and given back, never filtered by).
    """

    ids: Sequence[str]
    vectors: np.ndarray
    metadata: pa.Table


class VectorStore(Protocol):
    """A place for vectors.

    What `upsert` and `delete` change becomes visible to readers together, where the store can do so; a call that
    fails or is killed leaves what was there before. Similarity is the inner product, which of vectors of length 1 is
    the cosine.
    """

    kind: ClassVar[str]
    """The word before the colon in `faiss:DIR`."""

    @property
    def properties(self) -> StoreProperties:
        """What the store was made with."""
        ...

    @classmethod
    def create(cls, place: str, properties: StoreProperties, overwrite: bool = False) -> "VectorStore":
        """Makes an empty store; a store that stands there is replaced, if it may be, by the first `upsert`.

        Raises:
            FileExistsError: If something stands there that may not be replaced.
        """
        ...

    @classmethod
    def open(cls, place: str) -> "VectorStore":
        """Opens a store as it is now.

        Raises:
            StoreError: If there is none, or one of a format that this version does not read.
        """
        ...

    def __len__(self) -> int:
        """How many documents there are."""
        ...

    def known(self, ids: Collection[str]) -> set[str]:
        """Gives those of the ids that are stored."""
        ...

    def upsert(self, batches: Iterable[Batch]) -> None:
        """Stores documents; one whose id is stored is replaced, vector and metadata.

        Raises:
            StoreError: If another writer is at work, an id comes twice, or vectors have another width.
        """
        ...

    def delete(self, ids: Collection[str]) -> int:
        """Removes documents, those of them that are there, and gives their number.

        Raises:
            StoreError: If another writer is at work.
        """
        ...

    def search(self, vectors: np.ndarray, k: int, where: Where | None = None) -> tuple[np.ndarray, list[list[str]]]:
        """Finds the nearest documents.

        Args:
            vectors: float32 (Q, dims), of length 1.
            k: How many documents a query, at least 1.
            where: Only documents that fit this filter count; the result is that of a search among them alone.

        Returns:
            Scores, float32 (Q, n), from high to low, and ids, Q lists of n; n is k, or the number of documents that
            fit where that is less.

        Raises:
            StoreError: If `k`, the vectors' width or a column of the filter is wrong.
        """
        ...

    def take(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Gives the metadata of stored documents, `content` among it, in the order of the ids.

        Raises:
            KeyError: If one is not stored.
        """
        ...


def parse_place(place: str) -> tuple[str, str]:
    """Tells a store's kind from its place.

    Args:
        place: `faiss:DIR`; a folder or Hub name by itself is faiss's.

    Returns:
        The kind, one of `STORES`, and the place.
    """
    kind, colon, rest = place.partition(":")
    return (kind, rest) if colon and kind in STORES else ("faiss", place)


def store_class(kind: str) -> type[VectorStore]:
    """Imports a kind of store.

    Raises:
        StoreError: If there is no such kind, or a package that it needs is missing.
    """
    if kind not in STORES:
        raise StoreError(f"found the store {kind!r}, expected one of {', '.join(STORES)}")
    module, name, extra = STORES[kind]
    try:
        found: type[VectorStore] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise StoreError(f"the store {kind} needs the package {error.name}: pip install nyx-hf[{extra}]") from error
    return found


def parse_where(words: Sequence[str]) -> dict[str, list[str]]:
    """Reads filters as they are typed.

    Args:
        words: `COLUMN=VALUE` or `COLUMN=VALUE,VALUE`, each of another column.

    Returns:
        The filter; values are strings still, which `checked_where` turns into what the columns hold.

    Raises:
        StoreError: If a word is none such, or names a column a second time.
    """
    where: dict[str, list[str]] = {}
    for word in words:
        column, equals, values = word.partition("=")
        if not equals or not column or not values:
            raise StoreError(
                f"found the filter {word!r}, expected COLUMN=VALUE, or COLUMN=VALUE,VALUE for any of them"
            )
        if column in where:
            raise StoreError(
                f"found two filters on {column!r}, expected one: write {column}=VALUE,VALUE for any of them"
            )
        where[column] = values.split(",")
    return where


def checked_where(where: Mapping[str, Any] | None, columns: Mapping[str, str]) -> dict[str, pa.Array]:
    """Checks a filter against a store's columns; every store reads filters with this.

    Args:
        where: For each column a value or a list of them, of the column's type or as text.
        columns: The store's columns and their Arrow types.

    Returns:
        For each column its values, as an array of the column's type.

    Raises:
        StoreError: If there is no such column, or a value is not of its type.
    """
    checked: dict[str, pa.Array] = {}
    for column, values in (where or {}).items():
        if column not in columns:
            raise StoreError(f"found a filter on {column!r}, expected one of the columns {', '.join(columns)}")
        listed = [values] if isinstance(values, str) or not isinstance(values, Sequence) else list(values)
        try:
            kind = pa.type_for_alias(columns[column])
            checked[column] = pa.array([_as_type(value, kind) for value in listed], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise StoreError(
                f"found the filter {column}={','.join(map(str, listed))}, expected values of type {columns[column]}"
            ) from error
    return checked


def checked_vectors(vectors: np.ndarray, dims: int, name: str) -> np.ndarray:
    """Gives vectors as float32 (n, dims).

    Raises:
        StoreError: If they have another width, or values that are not finite.
    """
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2 or found.shape[1] != dims:
        raise StoreError(f"found {name} of shape {found.shape}, expected (rows, {dims})")
    if not np.isfinite(found).all():
        raise StoreError(f"found values in the {name} that are not finite, expected numbers: check the model")
    return found


def _as_type(value: Any, kind: pa.DataType) -> Any:
    """Reads a text as what a column holds; other values are taken as they are."""
    return pa.scalar(value).cast(kind).as_py() if isinstance(value, str) else value
