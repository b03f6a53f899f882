"""Ways to find candidates quickly, before their full vectors decide: a prefix, one byte a number, one bit a number.

Each way keeps a row of codes beside a vector and compares a query with the codes. The candidates are then scored with
the full vectors, so scores are exact always; what may be missed is a document that was no candidate.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import faiss
import numpy as np

from nyx_hf.vector_store import StoreError

Way = Literal["exact", "funnel", "int8", "binary"]
WAYS: tuple[str, ...] = get_args(Way)
Blocks = Iterable[tuple[np.ndarray, np.ndarray]]
"""Numbers of documents, int64 (n,), with their vectors or codes (n, …)."""


class Coarse(Protocol):
    """A way to compare queries with codes."""

    @property
    def oversample(self) -> int:
        """Candidates for each document that is asked for."""
        ...

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Gives what is kept beside vectors: (n, …)."""
        ...

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Gives queries as `nearest` reads them."""
        ...

    def nearest(self, queries: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Compares with a block: scores (Q, k), the higher the nearer, and places (Q, k)."""
        ...


@dataclass(frozen=True)
class Funnel:
    """The first dimensions, renormalised: for models trained with Matryoshka losses (Nyx Eq. 2).

    Attributes:
        prefix: How many dimensions.
        oversample: Candidates for each document that is asked for.
    """

    prefix: int
    oversample: int = 8

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Cuts and renormalises: float32 (n, prefix)."""
        cut = np.ascontiguousarray(vectors[:, : self.prefix], np.float32)
        return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Cuts and renormalises."""
        return self.codes(vectors)

    def nearest(self, queries: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Multiplies."""
        return inner_products(queries, codes, k)


@dataclass(frozen=True)
class Bytes:
    """One byte a dimension, in steps of the row's own largest number / 127: a quarter of the size of float32."""

    oversample: int = 4

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Rounds: int8 (n, dims + 4), the step of each row as the four bytes of a float32 at its end."""
        vectors = np.asarray(vectors, np.float32)
        steps = np.maximum(np.abs(vectors).max(1, keepdims=True), 1e-12) / 127  # (n, 1)
        steps = np.ascontiguousarray(steps, np.float32)
        return np.concatenate([np.rint(vectors / steps).astype(np.int8), steps.view(np.int8)], 1)

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Leaves queries as they are."""
        return vectors

    def nearest(self, queries: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Multiplies with the rounded numbers."""
        steps = np.ascontiguousarray(codes[:, -4:]).view(np.float32)  # (n, 1)
        return inner_products(queries, codes[:, :-4] * steps, k)


@dataclass(frozen=True)
class Bits:
    """The sign of each dimension, compared by the number of signs that differ: 1/32 of the size of float32."""

    oversample: int = 16

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Packs signs: uint8 (n, dims / 8, rounded up)."""
        return np.packbits(np.asarray(vectors) > 0, axis=1)

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Packs signs."""
        return self.codes(vectors)

    def nearest(self, queries: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts signs that differ."""
        distances, places = faiss.knn_hamming(queries, np.ascontiguousarray(codes), k)
        return -distances.astype(np.float32), places


@dataclass(frozen=True)
class Exact:
    """No candidates: every vector is compared."""

    oversample: int = 1

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Gives the vectors."""
        return vectors

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Leaves queries as they are."""
        return vectors

    def nearest(self, queries: np.ndarray, codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Multiplies."""
        return inner_products(queries, codes, k)


def coarse(options: Mapping[str, Any], dims: int) -> Coarse:
    """Gives the way that a store was told to search.

    Args:
        options: `search`, one of `WAYS` (exact if left out); `prefix`, the funnel's width (a quarter of the
            dimensions); `oversample`, candidates for each document that is asked for.
        dims: Width of the vectors.

    Returns:
        The way.

    Raises:
        StoreError: If there is no such way, or a number is out of range.
    """
    way, more = options.get("search", "exact"), options.get("oversample")
    if way not in WAYS:
        raise StoreError(f"found the search {way!r}, expected one of {', '.join(WAYS)}")
    if more is not None and more < 1:
        raise StoreError(f"found oversample={more}, expected 1 or more")
    if options.get("prefix") is not None and way != "funnel":
        raise StoreError(f"found a prefix for the search {way!r}, expected it for the funnel alone")
    how = {} if more is None else {"oversample": more}
    if way == "funnel":
        prefix = options.get("prefix") or max(1, dims // 4)
        if not 1 <= prefix <= dims:
            raise StoreError(f"found prefix={prefix}, expected 1 to {dims}, the width of the vectors")
        return Funnel(prefix, **how)
    ways: dict[str, type[Exact] | type[Bytes] | type[Bits]] = {"exact": Exact, "int8": Bytes, "binary": Bits}
    return ways[way](**how)


def inner_products(queries: np.ndarray, block: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the largest inner products with the rows of a block: scores float32 (Q, k) and places int64 (Q, k)."""
    block = np.ascontiguousarray(block, np.float32)
    scores, places = faiss.knn(queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, places


def best(way: Coarse, queries: np.ndarray, blocks: Blocks, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Goes through blocks of documents, keeping the best so far.

    Args:
        way: How queries and codes are compared.
        queries: As `way.queries` gives them, (Q, …).
        blocks: The documents' numbers and codes.
        k: How many to find.

    Returns:
        Scores, float32 (Q, n), from high to low, and numbers of documents, int64 (Q, n); n is k or the number of
        documents where that is less.
    """
    scores, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for numbers, codes in blocks:
        fresh, places = way.nearest(queries, codes, min(k, len(numbers)))  # (Q, ≤k)
        scores, found = np.concatenate([scores, fresh], 1), np.concatenate([found, numbers[places]], 1)
        order = np.lexsort((found, -scores))[:, :k]  # of equal scores the earlier document comes first
        scores, found = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    return scores, found


def rescored(queries: np.ndarray, candidates: np.ndarray, vectors_of: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores candidates with their full vectors and keeps the best.

    Args:
        queries: float32 (Q, dims).
        candidates: Numbers of documents, int64 (Q, C).
        vectors_of: Gives the vectors of some numbers, float32 (n, dims).
        k: How many to keep.

    Returns:
        Scores, float32 (Q, min(k, C)), from high to low, and numbers of documents of that shape.
    """
    scores = np.empty(candidates.shape, np.float32)
    for some in _runs(len(queries), candidates.shape[1] * queries.shape[1]):
        rows, places = np.unique(candidates[some], return_inverse=True)
        vectors = vectors_of(rows)  # each once, in the order of the file
        scores[some] = np.einsum("qcd,qd->qc", vectors[places.reshape(candidates[some].shape)], queries[some])
    order = np.lexsort((candidates, -scores))[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(candidates, order, 1)


def _runs(count: int, numbers_each: int) -> Iterator[slice]:
    """Cuts queries into runs whose candidates' vectors take at most 64 MB."""
    step = max(1, 16_000_000 // max(1, numbers_each))
    return (slice(start, start + step) for start in range(0, count, step))
