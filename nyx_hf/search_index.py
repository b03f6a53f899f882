"""An index that answers queries of any mix: `SearchIndex.open("your-name/pages").search("a red bicycle", k=5)`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from nyx_hf.data_builders.embedding_cache import Encoder
from nyx_hf.data_builders.schema import Row, present_parts
from nyx_hf.index_model import open_model
from nyx_hf.modeling.content_nyx import as_batch
from nyx_hf.search_queries import Query, read_query
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR
from nyx_hf.vector_store import StoreError, VectorStore, Where, parse_place, store_class


@dataclass(frozen=True)
class SearchResult:
    """A document that was found.

    Attributes:
        id: Its id.
        score: Its similarity to the query.
        content: Its parts, pictures as `{"bytes", "path"}`, made small where the index was told so.
        metadata: Its modality and the dataset's columns.
    """

    id: str
    score: float
    content: Sequence[Row] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)


class SearchIndex:
    """Documents with their vectors, and the model that encodes queries.

    Args:
        store: The vectors.
        model: The model's folder or Hub name, or an encoder; None opens the one that the index was made with, at its
            revision, when the first query comes.
        model_revision: The model's branch, tag or commit.
        device: Where it computes.
        batch_size: Queries encoded together.
    """

    def __init__(
        self,
        store: VectorStore,
        model: str | Encoder | None = None,
        *,
        model_revision: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.store = store
        self._model, self._revision, self._device, self._batch_size = model, model_revision, device, batch_size

    @classmethod
    def open(
        cls,
        path_or_repo: str | Path,
        revision: str | None = None,
        *,
        model: str | Encoder | None = None,
        model_revision: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> "SearchIndex":
        """Opens an index as it is now; what is written later is seen by who opens it then.

        Args:
            path_or_repo: The folder, a Hub dataset that holds an index (it is downloaded), or `KIND:PLACE` of a store.
            revision: The Hub's branch, tag or commit of the index.
            model: See the class.
            model_revision: See the class.
            device: See the class.
            batch_size: See the class.

        Returns:
            The index.

        Raises:
            StoreError: If there is no index.
        """
        kind, place = parse_place(str(path_or_repo))
        if kind == "faiss" and not Path(place).exists():
            place = str(_downloaded(place, revision))
        how: dict[str, Any] = {"model_revision": model_revision, "device": device, "batch_size": batch_size}
        return cls(store_class(kind).open(place), model, **how)

    def __len__(self) -> int:
        return len(self.store)

    @cached_property
    def encoder(self) -> Encoder:
        """The model that encodes queries.

        Raises:
            StoreError: If it is of another revision than the one that the index was made with.
        """
        properties, given = self.store.properties, self._model
        if given is None or isinstance(given, str):
            return open_model(properties, given, self._revision, self._device)
        properties.check_model(given.name, given.revision, given.settings())
        return given

    def search(
        self, queries: Any, k: int = 10, where: Where | None = None, instruction: str | None = None
    ) -> list[SearchResult] | list[list[SearchResult]]:
        """Finds the documents nearest to a query, or to each of several.

        Args:
            queries: Contents in any form that `encode` takes; a list is a batch.
            k: How many documents; all that fit where they are fewer.
            where: Only these documents: for each column a value or a list of them, as in `{"modality": "image"}`.
            instruction: Put before each query; what the index was made with if left out.

        Returns:
            Documents, the best first; a list of them for each query of a batch.

        Raises:
            ValueError: If a query is malformed or empty, or `k` or a filter is out of range.
        """
        items, single = as_batch(queries)
        found = self.find([read_query(item, number) for number, item in enumerate(items)], k, where, instruction)
        return found[0] if single else found

    def find(
        self, queries: Sequence[Query], k: int = 10, where: Where | None = None, instruction: str | None = None
    ) -> list[list[SearchResult]]:
        """Does what `search` does, for queries that are read already; an instruction of their own comes first."""
        if not queries:
            return []
        common = self.store.properties.instruction if instruction is None else instruction
        return self.nearest(self._encoded(queries, common), k, where)

    def nearest(self, vectors: np.ndarray, k: int = 10, where: Where | None = None) -> list[list[SearchResult]]:
        """Finds the documents nearest to vectors that are there already.

        Args:
            vectors: Of the index's model, float32 (Q, D), of length 1.
            k: How many documents.
            where: Only these documents.

        Returns:
            For each vector documents, the best first.

        Raises:
            ValueError: If `k` or a filter is out of range.
        """
        if k < 1:
            raise StoreError(f"found k={k}, expected 1 or more")
        scores, ids = self.store.search(vectors, k, where)
        rows = self._rows(sorted({name for found in ids for name in found}))
        return [
            [SearchResult(name, float(score), *rows[name]) for name, score in zip(found, best, strict=True)]
            for found, best in zip(ids, scores, strict=True)
        ]

    def _encoded(self, queries: Sequence[Query], instruction: str | None) -> np.ndarray:
        """Encodes queries, those of one instruction together: float32 (Q, D)."""
        vectors = np.empty((len(queries), self.store.properties.dims), np.float32)
        asked = [query.instruction or instruction for query in queries]
        for one in dict.fromkeys(asked):
            numbers = [number for number, other in enumerate(asked) if other == one]
            for start in range(0, len(numbers), self._batch_size):
                some = numbers[start : start + self._batch_size]
                vectors[some] = self.encoder.encode([queries[number].content for number in some], "query", one)
        return vectors

    def _rows(self, ids: Sequence[str]) -> dict[str, tuple[list[Row], dict[str, Any]]]:
        """Reads documents: content and metadata of each."""
        rows = self.store.take(ids) if ids else []
        return {
            name: (
                present_parts(row["content"] or ()),
                {column: row[column] for column in self.store.properties.columns},
            )
            for name, row in zip(ids, rows, strict=True)
        }

    def to_dataset(self) -> Any:
        """Gives the index to `datasets`: its documents with their vectors in the column `embedding`.

        The rows are written to a temporary file, not held in memory. `add_faiss_index` makes them searchable there::

            rows = SearchIndex.open("index").to_dataset()
            rows.add_faiss_index("embedding", metric_type=faiss.METRIC_INNER_PRODUCT)
            scores, found = rows.get_nearest_examples("embedding", vector, k=10)

        Returns:
            A `datasets.Dataset` with `id`, `content`, `embedding` and the columns to filter by.

        Raises:
            StoreError: If the store is another than faiss's.
        """
        from nyx_hf.faiss_store import FaissStore
        from nyx_hf.index_dataset import as_dataset

        if not isinstance(self.store, FaissStore):
            raise StoreError(
                f"found a store of kind {self.store.kind}, expected faiss: no other gives its vectors back"
            )
        return as_dataset(self.store)


def _downloaded(repo: str, revision: str | None) -> Path:
    """Downloads an index from the Hub."""
    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision))
    except LocalEntryNotFoundError as error:
        raise StoreError(
            f"there is no folder {repo}, and the Hub cannot be reached to look for such a dataset"
        ) from error
    except HFValidationError as error:
        raise StoreError(
            f"there is no folder {repo}, and it is no name on the Hub either: give DIR or owner/name"
        ) from error
    except NETWORK_ERROR as error:
        at = "" if revision is None else f" at {revision}"
        raise StoreError(
            f"there is no folder {repo}, and no dataset of that name on the Hub{at}: check the name"
        ) from error
