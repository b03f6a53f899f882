"""Searchers rank a corpus for queries, by vectors or by words; the miner and the builders know no more of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import bm25s
import numpy as np
import torch

from nyx_hf.data_builders.embedding_cache import EmbeddingCache, Encoder, Pair
from nyx_hf.data_builders.neighbours import top_k
from nyx_hf.data_builders.schema import Row

_BLOCK = 65_536  # documents whose vectors are read from disk at once


@dataclass(frozen=True)
class Item:
    """A query or a document to a searcher.

    Attributes:
        content: Its stored parts.
        instruction: The query's instruction.
    """

    content: Sequence[Row]
    instruction: str | None = None


class SearchIndex(Protocol):
    """A corpus and queries, ready to be ranked."""

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best documents.

        Args:
            queries: Numbers of queries, int64 (Q,).
            k: How many documents.
            within: Numbers of the documents that count, int64, ascending; all where it is None.

        Returns:
            Scores, float32 (Q, k), from high to low, and numbers of documents, int64 (Q, k); k is less where there
            are fewer documents.
        """
        ...

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        """Scores some documents for a query: float32 (n,)."""
        ...


class Searcher(Protocol):
    """Ranks documents."""

    @property
    def name(self) -> str:
        """What it is, with its revision: the `scorer` of triplets."""
        ...

    def index(self, queries: Callable[[], Iterable[Item]], corpus: Callable[[], Iterable[Item]]) -> SearchIndex:
        """Reads queries and corpus, each once or twice from its start, and readies what ranks them."""
        ...


@dataclass
class DenseSearcher:
    """Ranks by inner product of vectors, exactly; every content is encoded once and kept on disk.

    Attributes:
        encoder: Makes the vectors.
        cache_dir: Where they are kept.
        batch_size: Contents encoded together.
        device: Where inner products are computed; vectors wait on disk.
    """

    encoder: Encoder
    cache_dir: Path
    batch_size: int = 32
    device: str | None = None

    @property
    def name(self) -> str:
        """The encoder's name and revision."""
        return self.encoder.name if self.encoder.revision is None else f"{self.encoder.name}@{self.encoder.revision}"

    def index(self, queries: Callable[[], Iterable[Item]], corpus: Callable[[], Iterable[Item]]) -> "DenseIndex":
        """Encodes what is not encoded yet."""
        cache = EmbeddingCache(self.cache_dir, self.encoder, self.batch_size)
        asked, documents = cache.vectors(_pairs(queries()), "query"), cache.vectors(_pairs(corpus()), "document")
        return DenseIndex(asked, documents, device=self.device)


@dataclass(frozen=True)
class DenseIndex:
    """Vectors of queries and documents.

    Attributes:
        queries: float32 (Q, D), on disk.
        corpus: float32 (N, D), on disk.
        dim: The first dimensions that count, renormalised (Matryoshka); all where it is None.
        device: Where inner products are computed.
    """

    queries: np.ndarray
    corpus: np.ndarray
    dim: int | None = None
    device: str | None = None

    def cut(self, dim: int) -> "DenseIndex":
        """Gives the same vectors with only their first dimensions.

        Raises:
            ValueError: If they have not so many.
        """
        width = self.queries.shape[1]
        if not 1 <= dim <= width:
            raise ValueError(f"found {dim} dimensions, expected 1 to {width}, the width of the vectors")
        return replace(self, dim=dim)

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Goes through the corpus block by block: no more of it is in memory."""
        left = torch.as_tensor(np.asarray(self.queries[queries]), device=self.device)  # (Q, D)
        rows = np.arange(len(self.corpus)) if within is None else within
        scores, found = np.empty((len(left), 0), np.float32), np.empty((len(left), 0), np.int64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            fresh, places = top_k(left, np.ascontiguousarray(self.corpus[block]), k, self.dim)  # (Q, ≤k)
            scores, found = np.concatenate([scores, fresh], 1), np.concatenate([found, block[places]], 1)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # of equal scores the earlier stays first
            scores, found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
        return scores, found

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        """Multiplies one query with some documents."""
        left, right = self.queries[query], self.corpus[documents]  # (D,), (n, D)
        if self.dim is not None:
            left, right = (_unit(vectors[..., : self.dim]) for vectors in (left, right))
        scored: np.ndarray = np.asarray(right) @ np.asarray(left)
        return scored


class LexicalSearcher:
    """Ranks by BM25 over words; images say nothing to it. It needs no model."""

    @property
    def name(self) -> str:
        """`bm25`."""
        return "bm25"

    def index(self, queries: Callable[[], Iterable[Item]], corpus: Callable[[], Iterable[Item]]) -> SearchIndex:
        """Counts the corpus's words."""
        documents = _tokens(corpus())
        index = bm25s.BM25() if any(documents) else None  # in images alone there is nothing to count
        if index is not None:
            index.index(documents, show_progress=False)
        return _LexicalIndex(index, len(documents), _tokens(queries()))


@dataclass(frozen=True)
class _LexicalIndex:
    """BM25's counts of a corpus, and the words of each query."""

    index: Any
    documents: int
    queries: list[list[str]]

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores all documents for each query, and takes the best of those that count."""
        found = [self._best(int(query), k, within) for query in queries]
        if not found:
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        return np.stack([scores for scores, _ in found]), np.stack([rows for _, rows in found])

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        """Picks some documents' scores."""
        return self._all_scores(query)[documents]

    def _best(self, query: int, k: int, within: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        scores = self._all_scores(query)
        rows = np.arange(len(scores)) if within is None else within
        order = np.argsort(-scores[rows], kind="stable")[:k]
        return scores[rows][order], rows[order]

    def _all_scores(self, query: int) -> np.ndarray:
        known = {} if self.index is None else self.index.vocab_dict
        words = [word for word in self.queries[query] if word in known]
        if not words:
            return np.zeros(self.documents, np.float32)
        scored: np.ndarray = self.index.get_scores(words).astype(np.float32)
        return scored


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors to length 1; what is zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return scaled


def _pairs(items: Iterable[Item]) -> Iterator[Pair]:
    return ((item.content, item.instruction) for item in items)


def _tokens(items: Iterable[Item]) -> list[list[str]]:
    texts = [" ".join(part["text"] for part in item.content if part["type"] == "text") for item in items]
    words: list[list[str]] = bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
    return words
