"""Rankings: the documents that a searcher finds for queries, by id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.searching import Item, Searcher


@dataclass(frozen=True)
class Ranking:
    """What was found for one query, the best first.

    Attributes:
        ids: Ids of documents.
        scores: Their scores, float32 (n,), from high to low.
    """

    ids: Sequence[str]
    scores: np.ndarray


def rank(searcher: Searcher, queries: Dataset, corpus: Dataset, k: int) -> list[Ranking]:
    """Finds the best documents for each query.

    Args:
        searcher: What ranks.
        queries: Rows of the `queries` schema.
        corpus: Rows of the `corpus` schema.
        k: Documents a query; all where the corpus has fewer.

    Returns:
        A ranking of each query, in order.

    Raises:
        ValueError: If `k` is below 1, or the corpus is empty.
    """
    if k < 1:
        raise ValueError(f"found k={k}, expected 1 or more")
    if not len(corpus):
        raise ValueError("the corpus is empty: there is nothing to find")
    if not len(queries):
        return []
    index = searcher.index(lambda: stored_items(queries), lambda: stored_items(corpus))
    scores, rows = index.top_k(np.arange(len(queries)), k)
    ids: list[str] = list(corpus["id"])
    return [Ranking([ids[row] for row in found], best) for best, found in zip(scores, rows.tolist(), strict=True)]


def stored_rows(table: Dataset) -> Iterator[Row]:
    """Iterates over rows as they are stored: images stay encoded."""
    for batch in table.with_format("arrow").iter(256):
        yield from batch.to_pylist()


def stored_items(table: Dataset) -> Iterator[Item]:
    """Gives rows as searchers read them."""
    return (Item(row["content"], row.get("instruction")) for row in stored_rows(table))
