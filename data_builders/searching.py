"""Searchers rank a corpus for queries, by vectors or by words; the miner and the builders know no more of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import bm25s
import numpy as np

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
    """

    encoder: Encoder
    cache_dir: Path
    batch_size: int = 32

    @property
    def name(self) -> str:
        """The encoder's name and revision."""
        return self.encoder.name if self.encoder.revision is None else f"{self.encoder.name}@{self.encoder.revision}"

    def index(self, queries: Callable[[], Iterable[Item]], corpus: Callable[[], Iterable[Item]]) -> SearchIndex:
        """Encodes what is not encoded yet."""
        cache = EmbeddingCache(self.cache_dir, self.encoder, self.batch_size)
        return _DenseIndex(cache.vectors(_pairs(queries()), "query"), cache.vectors(_pairs(corpus()), "document"))


@dataclass(frozen=True)
class _DenseIndex:
    """Vectors of queries and documents, float32 (Q, D) and (N, D), both on disk."""

    queries: np.ndarray
    corpus: np.ndarray

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Goes through the corpus block by block: no more of it is in memory."""
        left = np.asarray(self.queries[queries])  # (Q, D)
        rows = np.arange(len(self.corpus)) if within is None else within
        scores, found = np.empty((len(left), 0), np.float32), np.empty((len(left), 0), np.int64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            fresh, places = top_k(left, np.ascontiguousarray(self.corpus[block]), k)  # (Q, ≤k)
            scores, found = np.concatenate([scores, fresh], 1), np.concatenate([found, block[places]], 1)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # of equal scores the earlier stays first
            scores, found = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
        return scores, found

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        """Multiplies one query with some documents."""
        scored: np.ndarray = np.asarray(self.corpus[documents]) @ np.asarray(self.queries[query])
        return scored


class LexicalSearcher:
    """Ranks by BM25 over words; images say nothing to it. It needs no model."""

    @property
    def name(self) -> str:
        """`bm25`."""
        return "bm25"

    def index(self, queries: Callable[[], Iterable[Item]], corpus: Callable[[], Iterable[Item]]) -> SearchIndex:
        """Counts the corpus's words."""
        index = bm25s.BM25()
        index.index(_tokens(corpus()), show_progress=False)
        return _LexicalIndex(index, _tokens(queries()))


@dataclass(frozen=True)
class _LexicalIndex:
    """BM25's counts of a corpus, and the words of each query."""

    index: Any
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
        words = [word for word in self.queries[query] if word in self.index.vocab_dict]
        documents = int(self.index.scores["num_docs"])
        if not words:
            return np.zeros(documents, np.float32)
        scored: np.ndarray = self.index.get_scores(words).astype(np.float32)
        return scored


def _pairs(items: Iterable[Item]) -> Iterator[Pair]:
    return ((item.content, item.instruction) for item in items)


def _tokens(items: Iterable[Item]) -> list[list[str]]:
    texts = [" ".join(part["text"] for part in item.content if part["type"] == "text") for item in items]
    words: list[list[str]] = bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
    return words
